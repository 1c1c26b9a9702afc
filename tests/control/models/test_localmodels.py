"""Local model caches: what fits into a node group, what is pinned, and what the status says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.models.artefacts import Artefacts
from colonnade.control.models.localmodels import LocalModels, over_limit
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.storage.cache import Cache
from colonnade.storage.mirror import Mirror
from colonnade.storage.volumes import Volumes

from ...storage.origin import Origin

GROUP = "serving.kserve.io"
KEY = Key("", "iris")


def cache(name: str, size: str, created: str, *groups: str, uri: str = "s3://b/m") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"sourceModelUri": uri, "modelSize": size, "nodeGroups": list(groups)},
    }


def group(name: str, limit: str | None) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {} if limit is None else {"storageLimit": limit}}


@pytest.mark.parametrize(
    ("name", "limits", "text"),
    [
        ("first", {"g": "10Gi", "h": None}, ""),
        ("second", {"g": "10Gi", "h": None}, ""),
        ("third", {"g": "10Gi", "h": None}, "node group g need 11811160064 bytes and its storageLimit is 10Gi"),
        ("third", {"g": "11Gi", "h": None}, ""),
        ("third", {"g": None}, ""),
        ("second", {"g": "10Gi"}, 'localmodelnodegroups "h" not found'),
        ("first", {"g": "1Gi", "h": None}, "node group g need 4294967296 bytes and its storageLimit is 1Gi"),
    ],
)
def test_the_earlier_ones_have_their_room(name: str, limits: dict[str, str | None], text: str) -> None:
    stored = [
        cache("third", "1Gi", "2026-01-03T00:00:00Z", "g"),
        cache("second", "6Gi", "2026-01-02T00:00:00Z", "g", "h"),
        cache("first", "4Gi", "2026-01-01T00:00:00Z", "g"),
    ]
    found = next(each for each in stored if each["metadata"]["name"] == name)
    said = over_limit(found, stored, [group(name, limit) for name, limit in limits.items()])
    assert text in said if text else not said


def models(store: Store, tmp_path: Path, look: Any, ready: Any) -> LocalModels:
    artefacts = Artefacts(
        store, Cache(tmp_path / "cache"), mirror=Mirror(), limit=1 << 30, volumes=lambda namespace: Volumes()
    )
    return LocalModels(store, artefacts, look, ready)


def status(store: Store) -> dict[str, Any]:
    found = store.get(Ref(GROUP, "localmodelcaches", "", "iris"))
    return (found or {}).get("status") or {}


async def test_a_model_is_downloaded_pinned_and_let_go(store: Store, origin: Origin, tmp_path: Path) -> None:
    looked, ready = asyncio.Event(), []
    found = models(store, tmp_path, lambda key: looked.set(), lambda: ready.append(1))
    uri = origin.url("/m.bin")
    store.create(Ref(GROUP, "localmodelnodegroups", "", "g"), group("g", "10Gi"))
    store.create(Ref(GROUP, "localmodelcaches", "", "iris"), cache("iris", "1Gi", "", "g", uri=uri))
    isvc = {"metadata": {}, "spec": {"predictor": {"model": {"storageUri": uri}}}}
    store.create(Ref(GROUP, "inferenceservices", "ns", "uses"), isvc)
    store.create(Ref(GROUP, "inferenceservices", "ns", "other"), {"metadata": {}, "spec": {"predictor": {}}})
    await found.reconcile(KEY)
    assert status(store)["nodeStatus"] == {"localhost": "NodeDownloading"}
    await asyncio.wait_for(looked.wait(), 10)
    again = await found.reconcile(KEY)
    assert again is not None, "a failed download comes again"
    assert status(store)["nodeStatus"] == {"localhost": "NodeDownloadError"}
    assert "there is nothing at this address" in status(store)["message"]
    origin.serve("/m.bin", b"x")
    found.retry("")
    async with asyncio.timeout(10):
        while status(store)["copies"]["available"] != 1:
            looked.clear()
            await found.reconcile(KEY)
            if status(store)["copies"]["available"] != 1:
                await looked.wait()
    assert ready == [1]
    assert status(store)["inferenceServices"] == [{"name": "uses", "namespace": "ns"}]
    kept = Cache(tmp_path / "cache")
    assert len(kept.pinned()) == 1
    store.delete(Ref(GROUP, "localmodelcaches", "", "iris"))
    await found.reconcile(KEY)
    assert not kept.pinned()
    await found.close()


async def test_a_model_of_this_machine_needs_no_cache(store: Store, tmp_path: Path) -> None:
    looked = asyncio.Event()
    found = models(store, tmp_path, lambda key: looked.set(), lambda: None)
    store.create(Ref(GROUP, "localmodelnodegroups", "", "g"), group("g", None))
    store.create(Ref(GROUP, "localmodelcaches", "", "iris"), cache("iris", "1Gi", "", "g", uri="/models/iris"))
    await found.reconcile(KEY)
    await asyncio.wait_for(looked.wait(), 10)
    await found.reconcile(KEY)
    assert "/models/iris is on this machine" in status(store)["message"]
    await found.close()
