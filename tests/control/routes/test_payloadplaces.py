"""Where payload logs go, whose credentials they get, and that what comes or changes later is followed."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.models.credentials import Credentials
from colonnade.control.objects import Ref
from colonnade.control.routes import payloadplaces
from colonnade.control.routes.payloadplaces import PayloadPlaces
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.gateway.payloads.places import place
from colonnade.gateway.payloads.settings import Logging
from colonnade.storage.volumes import Volumes

from ...storage.buckets import serving
from .test_payloadlogs import service, stored

IRIS = Key("default", "iris")
SECRET = Ref("", "secrets", "default", "storage-config")


class Scene:
    """Places of a machine with one claim and a folder for more, and what they told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "db")
        (root / "claim").mkdir()
        (root / "claims").mkdir()
        volumes = Volumes({"claim": root / "claim"}, root / "claims")
        self.changed: list[Key] = []
        self.looks = 0
        credentials = Credentials(self.store, root / "ca")
        self.places = PayloadPlaces(credentials, lambda _: volumes, root / "access", self.changed.append, self._look)

    def _look(self) -> None:
        self.looks += 1

    def of(self, path: str, **parameters: str) -> Logging | None:
        return self.places.of(service(stored(path, **parameters)), "predictor")

    def trouble(self, path: str = "x") -> str | None:
        return self.places.trouble(service(stored(path)))

    def keys(self, **entry: str) -> None:
        """Store the secret of the storage that the loggers name."""
        data = {"k": base64.b64encode(json.dumps({"type": "s3", **entry}).encode()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET.name, "namespace": "default"}}
        there = self.store.get(SECRET)
        if there is None:
            self.store.create(SECRET, {**secret, "data": data})
        else:
            self.store.update(SECRET, {**there, "data": data})


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_folders_of_this_machine(scene: Scene) -> None:
    for path, folder in (
        ("/x", "/x"),
        ("file:///x/y", "/x/y"),
        ("pvc://claim/a/b", str(scene.root / "claim/a/b")),
    ):
        assert scene.of(path) == Logging(folder=folder)
    assert scene.trouble() == ""
    assert scene.changed == []


def test_no_path_leads_out_of_a_claim(scene: Scene) -> None:
    (scene.root / "claim" / "link").symlink_to(scene.root)
    for path in ("pvc://claim/../../x", "pvc://claim/link/x"):
        assert scene.of(path) is None
        assert "leads out of the claim" in (scene.trouble() or "")


def test_a_bucket_gets_the_keys_of_its_secret_in_a_file_of_its_own(scene: Scene) -> None:
    scene.keys(bucket="b", access_key_id="id", secret_access_key="s3cret", endpoint_url="http://127.0.0.1:1")
    found = scene.of("logs/here", format="csv")
    assert found is not None
    assert (found.folder, found.format) == ("s3://b/logs/here", "csv")
    access = Path(found.access)
    assert access.stat().st_mode & 0o077 == 0
    said = json.loads(access.read_bytes())
    assert said["config"]["secret_access_key"] == "s3cret"
    assert said["client_options"]["allow_http"] is True
    assert "s3cret" not in repr(found)


def test_a_real_bucket_takes_the_files(scene: Scene) -> None:
    with serving() as buckets:
        buckets.put("logs", {})
        scene.keys(bucket="logs", endpoint_url=buckets.endpoint, access_key_id="known", secret_access_key="very-secret")
        found = scene.of("logs/here")
        assert found is not None
        place(found.folder, found.access).put("default/iris/date=2026-11-24/x.json", b"{}")
        (listed,) = buckets.client.list_objects_v2(Bucket="logs")["Contents"]
        assert listed["Key"] == "logs/here/default/iris/date=2026-11-24/x.json"


@pytest.mark.parametrize(
    ("path", "words"), [("pvc://later/x", "no volume for the claim 'later'"), ("some/path", "storage-config")]
)
def test_what_is_missing_is_told_once_and_found_when_it_comes(scene: Scene, path: str, words: str) -> None:
    assert scene.trouble(path) is None, "nobody has looked yet"
    assert scene.of(path) is None
    assert scene.of(path) is None
    assert scene.changed == [IRIS]
    trouble = scene.trouble(path) or ""
    assert trouble.startswith("spec.predictor.logger: payloads are not logged: ")
    assert words in trouble

    (scene.root / "claims" / "later").mkdir()
    scene.keys(bucket="b", access_key_id="id", secret_access_key="s3cret")
    assert scene.of(path) is not None
    assert scene.trouble(path) == ""
    assert scene.changed == [IRIS, IRIS]


def test_a_service_without_a_logger_is_nobodys_business(scene: Scene) -> None:
    assert scene.places.of(service(None), "predictor") is None
    assert scene.places.trouble(service(None)) is None
    assert scene.changed == []


def test_keys_that_are_replaced_reach_the_gateway_in_another_file(scene: Scene) -> None:
    scene.keys(bucket="b", access_key_id="id", secret_access_key="old")
    before, stamp = scene.of("x"), scene.places.stamp(IRIS)
    scene.keys(bucket="b", access_key_id="id", secret_access_key="new")
    scene.places.again()
    assert scene.places.stamp(IRIS) != stamp, "the router asks again"
    assert scene.places.stamp(Key("default", "other")) == 0, "but not for those that log nothing"
    assert scene.looks == 1
    after = scene.of("x")
    assert before is not None
    assert after is not None
    assert before.access != after.access
    assert "new" in Path(after.access).read_text()


async def test_it_looks_again_by_itself_and_takes_old_keys_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloadplaces, "PERIOD", 0.01)
    monkeypatch.setattr(payloadplaces, "KEPT", 0.0)
    scene.keys(bucket="b", access_key_id="id", secret_access_key="old")
    before = scene.of("x")
    scene.keys(bucket="b", access_key_id="id", secret_access_key="new")
    assert before is not None
    found = await _running(scene, lambda: scene.looks > 1 and not Path(before.access).exists())
    assert found is not None
    assert Path(found.access).exists()


async def _running(scene: Scene, done: Any) -> Logging | None:
    """Let it run, asked as the router asks, until a condition holds; what it said last."""
    found = None
    task = asyncio.create_task(scene.places.run())
    async with asyncio.timeout(10):
        while not done():
            found = scene.of("x")
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found
