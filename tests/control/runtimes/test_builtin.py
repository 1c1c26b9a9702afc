"""The runtimes that are there from the start, against the manifests that KServe installs, and how they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonnade.control.objects import Ref
from colonnade.control.runtimes import builtin
from colonnade.control.runtimes.runtimecatalogue import RuntimeCatalogue
from colonnade.control.runtimes.selection import read
from colonnade.control.store import Store
from colonnade.resources.manifest import load
from colonnade.resources.runtimerules import clashes
from colonnade.resources.validation import validate

SHARED = Path(__file__).parents[4] / "shared" / "kserve" / "runtimes"
SKLEARN = Ref("serving.kserve.io", "clusterservingruntimes", "", "kserve-sklearnserver")


def objects(*programs: str) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["name"]: obj for obj in builtin.objects(programs)}


@pytest.mark.skipif(not SHARED.exists(), reason=f"KServe's data is not at {SHARED}")
def test_they_are_those_of_kserve() -> None:
    ours = objects()
    theirs = [found.object for file in sorted(SHARED.glob("*.yaml")) for found in load(file.read_text(), file.name)]
    assert {obj["metadata"]["name"] for obj in theirs} == {name for name in ours if name.startswith("kserve-")}
    for obj in theirs:
        name, spec = obj["metadata"]["name"], obj["spec"]
        own = ours[name]["spec"]
        formats = [{"autoSelect": False, **entry} for entry in spec["supportedModelFormats"]]
        assert own["supportedModelFormats"] == formats, name
        assert own.get("protocolVersions") == spec.get("protocolVersions"), name
        assert own["annotations"] == spec["annotations"], name
        assert bool(own.get("workerSpec")) == bool(spec.get("workerSpec")), name
        (container,), (kept,) = spec["containers"], own["containers"]
        assert kept.get("args") == container.get("args"), name
        assert kept["image"].removeprefix("kserve-") == container["image"].removeprefix("kserve-"), name
        for probe in ("readinessProbe", "startupProbe"):
            assert kept.get(probe) == (container.get(probe) if name == "kserve-vllmserver" else None), name
        literal = {entry["name"]: entry["value"] for entry in container.get("env") or () if "value" in entry}
        assert {entry["name"]: entry["value"] for entry in kept.get("env") or ()}.items() <= literal.items(), name


def test_they_keep_their_own_rules() -> None:
    for obj in objects().values():
        validate(obj)
        assert not list(clashes(obj, objects().values())), obj["metadata"]["name"]
        assert builtin.is_own(obj)


def test_each_says_how_it_runs_here() -> None:
    def said(name: str, *programs: str) -> str:
        return builtin.runs(read(objects()[name]), programs)

    assert said("kserve-sklearnserver") == "sklearn: built in (adapter sklearn)"
    assert said("kserve-paddleserver").startswith("paddle: no: its server paddleserver is not on the PATH")
    assert said("kserve-paddleserver", "paddleserver") == "paddle: command paddleserver"
    assert "tensorrt, triton: command tritonserver" in said("kserve-tritonserver", "tritonserver")
    assert said("kserve-huggingfaceserver-multinode").startswith("no: multi-node")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    found = Store(tmp_path / "db")
    yield found
    found.close()


def test_they_are_stored_once_and_again_when_deleted(store: Store) -> None:
    catalogue = RuntimeCatalogue(store, frozenset())
    catalogue.restore()
    first = store.get(SKLEARN)
    assert first is not None
    assert len(catalogue.of("ns").cluster) == len(objects())
    catalogue.restore()
    assert store.get(SKLEARN) == first
    store.delete(SKLEARN)
    assert len(catalogue.of("ns").cluster) == len(objects()) - 1
    catalogue.restore()
    again = store.get(SKLEARN)
    assert again is not None
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


def test_one_that_somebody_changed_is_left_alone_and_counts_as_new(store: Store) -> None:
    catalogue = RuntimeCatalogue(store, frozenset())
    catalogue.restore()
    found = store.get(SKLEARN)
    assert found is not None
    assert next(each for each in catalogue.of("").cluster if each.name == SKLEARN.name).created == ""
    spec = {**found["spec"], "containers": [{"name": "kserve-container", "command": ["mine"]}]}
    store.update(SKLEARN, {**found, "spec": spec})
    assert next(each for each in catalogue.of("").cluster if each.name == SKLEARN.name).created != ""
    catalogue.restore()
    kept = store.get(SKLEARN)
    assert kept is not None
    assert kept["spec"] == spec


def test_an_older_versions_is_replaced(store: Store) -> None:
    old = objects()["kserve-sklearnserver"]
    old["spec"] = {**old["spec"], "protocolVersions": ["v1"]}
    old["metadata"]["annotations"][builtin.CONTENT] = builtin.digest(old["spec"])
    store.create(SKLEARN, old)
    catalogue = RuntimeCatalogue(store, frozenset())
    catalogue.restore()
    found = store.get(SKLEARN)
    assert found is not None
    assert found["spec"]["protocolVersions"] == ["v1", "v2"]


def test_a_namespace_sees_its_own(store: Store) -> None:
    catalogue = RuntimeCatalogue(store, frozenset({"vllm"}))
    spec = {"supportedModelFormats": [], "containers": [{"name": "kserve-container"}]}
    obj = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "spec": spec}
    ref = Ref("serving.kserve.io", "servingruntimes", "team", "mine")
    store.create(ref, {**obj, "metadata": {"name": "mine", "namespace": "team"}})
    assert [each.name for each in catalogue.of("team").namespaced] == ["mine"]
    assert catalogue.of("other").namespaced == ()
    assert RuntimeCatalogue(store, frozenset()).of("team").namespaced == catalogue.of("team").namespaced
    store.delete(ref)
    assert catalogue.of("team").namespaced == ()
    assert catalogue.of("team").programs == {"vllm"}
