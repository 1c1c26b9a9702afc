"""A service whose answers say which version of it gave them, and what the tests of rollouts ask of it."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from .product import Product, service, until

MODEL = """
import asyncio
import os
import random

import colonnade

FAULTS = random.Random(7)


class Version(colonnade.Model):
    async def predict(self, payload: dict):
        if "DIES" in os.environ:
            os._exit(9)
        if FAULTS.random() < float(os.environ.get("FAILS", 0)):
            raise RuntimeError("this version fails now and then")
        await asyncio.sleep(float(os.environ.get("TAKES", 0)))
        return {"predictions": [os.environ["VERSION"]]}
"""

Manifest = dict[str, Any]
OBJECTS = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"


class Versions:
    """One service of a product, applied again and again."""

    def __init__(self, product: Product, name: str, folder: Path) -> None:
        """`folder` gets the model."""
        self.product = product
        self.name = name
        self.folder = folder
        (folder / "model.py").write_text(MODEL)
        token = (product.state / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        self.api = httpx.Client(base_url=product.endpoints["api"], headers=headers, timeout=30)

    def predictor(self, version: str, **options: Any) -> dict[str, Any]:
        """A predictor of that version; `env__NAME` sets a variable, all else is a field of it."""
        variables = {"VERSION": version}
        variables |= {key[5:]: str(options.pop(key)) for key in list(options) if key.startswith("env__")}
        env = [{"name": key, "value": value} for key, value in variables.items()]
        model = {"modelFormat": {"name": "python"}, "storageUri": str(self.folder), "env": env}
        return {"model": model, **options}

    def manifest(
        self, predictor: dict[str, Any], annotations: Mapping[str, str] | None = None, **spec: Any
    ) -> Manifest:
        """The service with that predictor; further fields of its spec."""
        made = service(self.name, predictor)
        made["metadata"]["annotations"] = dict(annotations or {})
        made["spec"] |= spec
        return made

    def apply(
        self, predictor: dict[str, Any], annotations: Mapping[str, str] | None = None, wait: bool = True, **spec: Any
    ) -> None:
        """Apply it, as `colonnade apply` does; with `wait` until it is Ready as asked for."""
        manifest = self.manifest(predictor, annotations, **spec)
        headers = {"Content-Type": "application/apply-patch+yaml"}
        path = f"{OBJECTS}/{self.name}?fieldManager=colonnade"
        answer = self.api.patch(path, content=json.dumps(manifest), headers=headers)
        assert answer.is_success, answer.text
        if wait:
            until(self.ready, f"{self.name} is Ready as asked for")

    @property
    def object(self) -> Manifest:
        answer = self.api.get(f"{OBJECTS}/{self.name}")
        answer.raise_for_status()
        found: Manifest = answer.json()
        return found

    def ready(self) -> bool:
        """Whether it is Ready as its present manifest wants it."""
        found = self.object
        status = found.get("status") or {}
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return current and _condition(found, "Ready").get("status") == "True"

    @property
    def component(self) -> dict[str, Any]:
        """The status of its predictor."""
        found: dict[str, Any] = (self.object.get("status") or {}).get("components", {}).get("predictor", {})
        return found

    @property
    def shares(self) -> dict[str, int]:
        """Percent by the number of the revision, where a variant's name stands before it."""
        return {
            each["revisionName"].removeprefix(f"{self.name}-").replace("predictor-", ""): each["percent"]
            for each in self.component.get("traffic") or []
        }

    def condition(self, kind: str = "Ready") -> dict[str, Any]:
        return _condition(self.object, kind)

    def model_state(self) -> str:
        """What becomes of the model of its latest revision."""
        status = self.object.get("status") or {}
        state: str = ((status.get("modelStatus") or {}).get("states") or {}).get("targetModelState", "")
        return state

    def events(self, reason: str) -> list[str]:
        """Messages of its events of one kind, the oldest first."""
        found = self.api.get("/api/v1/namespaces/default/events").json()["items"]
        mine = (each for each in found if each["involvedObject"]["name"] == self.name)
        return [each["message"] for each in mine if each["reason"] == reason]

    @property
    def pods(self) -> list[str]:
        """The names of its pods."""
        found = self.api.get("/api/v1/namespaces/default/pods").json()["items"]
        return [each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith(f"{self.name}-")]

    @property
    def url(self) -> str:
        return f"{self.product.http}/serving/default/{self.name}/v1/models/{self.name}:predict"

    def ask(self, count: int, headers: Mapping[str, str] | None = None, path: str | None = None) -> Counter[str]:
        """What so many requests were answered, each of which must be."""
        answers: Counter[str] = Counter()
        url = urlsplit(self.url)
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        for _ in range(count):
            connection.request("POST", path or url.path, '{"instances": [0]}', dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            answers[json.loads(text)["predictions"][0]] += 1
        connection.close()
        return answers

    def settled(self, shares: dict[str, int]) -> None:
        """Wait until it is Ready with these shares."""
        until(lambda: self.shares == shares and self.ready(), f"shares are {shares}")


def _condition(isvc: Manifest, kind: str) -> dict[str, Any]:
    conditions = (isvc.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})
