"""What is decided about TrainedModels, and the lists that their replicas read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.models.modelsets import ModelSets
from colonnade.control.models.trainedmodel_status import (
    MEMORY,
    MULTI_MODEL,
    READY,
    SERVICE_READY,
    Served,
    admitted,
    limit,
    memory_fact,
    service_facts,
    status,
)
from colonnade.control.workqueue import Key
from colonnade.runtimes.modellist import LISTING, Listed, ModelSpec, read

SERVICE = Key("ns", "many")


def model(name: str, memory: str = "256Mi", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    spec = {"inferenceService": "many", "model": {"storageUri": "/m", "framework": "sklearn", "memory": memory}}
    return {"metadata": {"name": name, "namespace": "ns", "creationTimestamp": created, "generation": 2}, "spec": spec}


def service(ready: str = "True", **predictor: Any) -> dict[str, Any]:
    spec = {"predictor": predictor or {"model": {"modelFormat": {"name": "sklearn"}}}}
    found = {"conditions": [{"type": "Ready", "status": ready}], "url": "http://many", "address": {"url": "http://h/x"}}
    return {"metadata": {"name": "many", "namespace": "ns"}, "spec": spec, "status": found}


@pytest.mark.parametrize(
    ("isvc", "ready", "multi"),
    [
        (None, "InferenceServiceNotFound", "IsNotMMSPredictor"),
        (service(), "", ""),
        (service("False"), "InferenceServiceNotReady", ""),
        (service(model={"modelFormat": {"name": "sklearn"}, "storageUri": "/m"}), "", "IsNotMMSPredictor"),
        (service(model={"modelFormat": {"name": "sklearn"}, "storage": {"path": "m"}}), "", "IsNotMMSPredictor"),
        (service(model={"modelFormat": {"name": "huggingface"}}), "", "IsNotMMSPredictor"),
        (service(containers=[{"image": "x"}]), "", "IsNotMMSPredictor"),
    ],
)
def test_what_a_service_says(isvc: dict[str, Any] | None, ready: str, multi: str) -> None:
    facts = {fact.kind: fact for fact in service_facts(isvc, "many")}
    assert facts[SERVICE_READY].reason == ready
    assert facts[MULTI_MODEL].reason == multi
    assert all((fact.status == "True") == (fact.reason == "") for fact in facts.values())


@pytest.mark.parametrize(
    ("resources", "bound"),
    [
        ({}, None),
        ({"limits": {"memory": "1Gi"}}, Decimal(1 << 30)),
        ({"requests": {"memory": "1Gi"}}, None),
        ({"limits": {"memory": "much"}}, None),
    ],
)
def test_the_limit_is_that_of_the_predictors_memory(resources: dict[str, Any], bound: Decimal | None) -> None:
    assert limit(service(model={"modelFormat": {"name": "sklearn"}, "resources": resources})) == bound


@pytest.mark.parametrize(
    ("bound", "placed", "out"),
    [
        (None, (), set()),
        (3, (), set()),
        (2, (), {"c"}),
        (2, ("c",), {"b"}),  # what is placed stays
        (2, ("b", "c"), {"a"}),
        (0, (), {"a", "b", "c"}),
    ],
)
def test_who_fits_into_the_memory(bound: int | None, placed: tuple[str, ...], out: set[str]) -> None:
    models = [model("c", "1", "2026-01-02"), model("b", "1", "2026-01-01"), model("a", "1", "2026-01-01")]
    found = admitted(models, None if bound is None else Decimal(bound), placed)
    assert {name for name, free in found.items() if free is not None} == out


def test_a_small_model_goes_past_a_large_one_that_does_not_fit() -> None:
    models = [model("a", "3", "1"), model("b", "8", "2"), model("c", "2", "3")]
    assert admitted(models, Decimal(5), ()) == {"a": None, "b": Decimal(2), "c": None}
    fact = memory_fact(models[1], Decimal(2))
    assert (fact.status, fact.reason) == ("False", "MemoryResourceNotAvailable")
    assert "wants 8, and 2 bytes" in fact.message


@pytest.mark.parametrize(
    ("isvc", "served", "ready"),
    [
        (service(), Served(True), ("True", "")),
        (service(), Served(False, "ModelFetching", "x"), ("Unknown", "ModelFetching")),
        (service(), Served(False, "ModelLoadFailed", "x", failed=True), ("False", "ModelLoadFailed")),
        (service("False"), Served(True), ("False", "InferenceServiceNotReady")),
        (None, Served(False), ("False", "InferenceServiceNotFound")),
    ],
)
def test_ready_is_what_the_conditions_and_the_replicas_say(
    isvc: dict[str, Any] | None, served: Served, ready: tuple[str, str]
) -> None:
    obj = model("m")
    new = status(obj, isvc, [*service_facts(isvc, "many"), memory_fact(obj, None)], served, "now")
    found = {each["type"]: each for each in new["conditions"]}
    assert set(found) == {SERVICE_READY, MULTI_MODEL, MEMORY, READY}
    assert (found[READY]["status"], found[READY].get("reason", "")) == ready
    assert new["observedGeneration"] == 2
    assert new.get("url") == (None if isvc is None else "http://many/v1/models/m:predict")
    later = status({**obj, "status": new}, isvc, [], Served(False), "later")
    assert later["conditions"][-1]["lastTransitionTime"] == ("now" if ready[0] == "Unknown" else "later")


def test_a_service_of_v2_has_its_path() -> None:
    isvc = service(model={"modelFormat": {"name": "sklearn"}, "protocolVersion": "v2"})
    new = status(model("m"), isvc, [], Served(True), "now")
    assert new["address"] == {"url": "http://h/x/v2/models/m/infer"}


def listed(name: str, version: str = "1") -> Listed:
    return Listed(name, ModelSpec("s3://b/m", "sklearn", "1Mi"), f"/cache/{name}", version, False)


def test_the_lists_outlive_who_wrote_them(tmp_path: Path) -> None:
    sets = ModelSets(tmp_path / "sets")
    assert sets.put(SERVICE, listed("a"))
    assert sets.put(SERVICE, listed("b"))
    assert not sets.put(SERVICE, listed("b"))
    assert sets.put(SERVICE, listed("b", "2"))
    again = ModelSets(tmp_path / "sets")
    assert again.of(SERVICE) == read(tmp_path / "sets" / "ns" / "many") == {"a": listed("a"), "b": listed("b", "2")}
    assert again.holding(Key("ns", "a")) == [SERVICE]
    assert again.holding(Key("other", "a")) == []
    assert set(again.models()) == {Key("ns", "a"), Key("ns", "b")}
    assert again.paths() == ["/cache/a", "/cache/b"]
    again.remove(SERVICE, "a")
    again.remove(SERVICE, "b")
    assert ModelSets(tmp_path / "sets").of(SERVICE) == {}
    assert not (tmp_path / "sets" / "ns" / "many").exists()


def test_a_list_that_cannot_be_read_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "ns" / "many").mkdir(parents=True)
    (tmp_path / "ns" / "many" / LISTING).write_bytes(b"{")
    sets = ModelSets(tmp_path)
    assert sets.put(SERVICE, listed("a"))
    assert read(tmp_path / "ns" / "many") == {"a": listed("a")}
