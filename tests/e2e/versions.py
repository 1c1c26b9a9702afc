"""A service whose answers say which version of it gave them, and what the tests of rollouts ask of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        if FAULTS.random() < float(os.environ.get("FAILS", 0)):
            raise RuntimeError("this version fails now and then")
        await asyncio.sleep(float(os.environ.get("TAKES", 0)))
        return {"predictions": [os.environ["VERSION"]]}
"""

Manifest = dict[str, Any]


class Versions:
    """One service of a product, applied again and again."""

    def __init__(self, product: Product, name: str, folder: Path) -> None:
        """`folder` gets the model."""
        self.product = product
        self.name = name
        self.folder = folder
        (folder / "model.py").write_text(MODEL)

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
        """Apply it; with `wait` until it is Ready as asked for."""
        self.product.apply(self.manifest(predictor, annotations, **spec), wait=wait)

    @property
    def object(self) -> Manifest:
        found: Manifest = json.loads(self.product.colonnade("get", "isvc", self.name, "-o", "json"))
        return found

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
        conditions = (self.object.get("status") or {}).get("conditions") or []
        return next((each for each in conditions if each["type"] == kind), {})

    def events(self, reason: str) -> list[str]:
        """Messages of its events of one kind."""
        found = json.loads(self.product.colonnade("get", "events", "-o", "json"))["items"]
        mine = (each for each in found if each["involvedObject"]["name"] == self.name)
        return [each["message"] for each in mine if each["reason"] == reason]

    @property
    def url(self) -> str:
        return f"{self.product.http}/serving/default/{self.name}/v1/models/{self.name}:predict"

    def ask(self, count: int, headers: Mapping[str, str] | None = None, path: str | None = None) -> Counter[str]:
        """What so many requests were answered, each of which must be."""
        answers: Counter[str] = Counter()
        url = self.url if path is None else f"{self.product.http}{path}"
        with httpx.Client(timeout=30, headers=dict(headers or {})) as client:
            for _ in range(count):
                response = client.post(url, json={"instances": [0]})
                response.raise_for_status()
                answers[response.json()["predictions"][0]] += 1
        return answers

    def settled(self, shares: dict[str, int]) -> None:
        """Wait for these shares, and for a gateway that knows of them."""
        until(lambda: self.shares == shares and self.condition().get("status") == "True", f"shares are {shares}")
