"""The rules of runtimes, with KServe's words."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.errors import Invalid
from colonnade.resources.runtimerules import clashes
from colonnade.resources.validation import validate


def runtime(name: str = "new", *formats: dict[str, Any], namespace: str = "", **spec: Any) -> dict[str, Any]:
    kind = "ServingRuntime" if namespace else "ClusterServingRuntime"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    given = {"supportedModelFormats": list(formats), "containers": [{"name": "kserve-container"}], **spec}
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": given}


def taken(priority: int | None = 1, name: str = "sklearn", version: str = "1", auto: bool = True) -> dict[str, Any]:
    found = {"name": name, "version": version, "autoSelect": auto}
    return found if priority is None else {**found, "priority": priority}


V1: dict[str, Any] = {"protocolVersions": ["v1", "v2"]}


@pytest.mark.parametrize(
    ("new", "other", "clash"),
    [
        (runtime("new", taken(), **V1), runtime("old", taken(), **V1), True),
        (runtime("new", taken(), **V1), runtime("old", taken(2), **V1), False),
        (runtime("new", taken(), **V1), runtime("old", taken(None), **V1), False),
        (runtime("new", taken(None), **V1), runtime("old", taken(None), **V1), False),
        (runtime("new", taken(), **V1), runtime("old", taken(version="2"), **V1), False),
        (runtime("new", taken(), **V1), runtime("old", taken(name="SKLearn"), **V1), True),
        (runtime("new", taken(auto=False), **V1), runtime("old", taken(), **V1), False),
        (runtime("new", taken(), **V1), runtime("old", taken(), protocolVersions=["v2"]), True),
        (runtime("new", taken(), **V1), runtime("old", taken(), protocolVersions=["grpc-v2"]), False),
        (runtime("new", taken(), **V1), runtime("old", taken()), False),
        (runtime("new", taken(), **V1), runtime("old", taken(), disabled=True, **V1), False),
        (runtime("new", taken(), disabled=True, **V1), runtime("old", taken(), **V1), False),
        (runtime("new", taken(), **V1), runtime("old", taken(), multiModel=True, **V1), False),
        (runtime("new", taken(), **V1), runtime("new", taken(), **V1), False),
    ],
)
def test_two_runtimes_may_not_have_the_same_priority(new: dict[str, Any], other: dict[str, Any], clash: bool) -> None:
    found = list(clashes(new, [other]))
    assert bool(found) == clash
    if clash:
        text = "same priority assigned for the model format sklearn in the clusterservingruntimes old and new"
        assert found[0][1].startswith(text)


def test_in_a_namespace_it_is_named() -> None:
    pair = (runtime(name, taken(), namespace="team", **V1) for name in ("new", "old"))
    ((_, text),) = clashes(next(pair), pair)
    words = "same priority assigned for the model format sklearn in the servingruntimes old and new in namespace team"
    assert text.startswith(words)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            runtime("a", taken(1), taken(2, version="2")),
            "different priorities assigned for the model format sklearn under the clusterserving",
        ),
        (runtime("a", taken(1), taken(2, version="2"), namespace="n"), "under the servingruntime a"),
        (runtime("a", containers=[]), "a runtime is a container"),
        (runtime("a", containers=[{"name": "other"}]), "must be named kserve-container"),
        (
            runtime("a", workerSpec={"containers": [{"name": "x"}, {"name": "y"}]}),
            "the ClusterServingRuntime a is invalid: setting multiple containers in workerSpec is not allowed",
        ),
        (
            runtime("a", workerSpec={"tensorParallelSize": 0}),
            "the WorkerSpec.TensorParallelSize cannot be less than 1(0)",
        ),
        (
            runtime(
                "a",
                workerSpec={},
                containers=[{"name": "kserve-container", "env": [{"name": "TENSOR_PARALLEL_SIZE", "value": "1"}]}],
            ),
            "setting TENSOR_PARALLEL_SIZE in environment variables is not allowed",
        ),
    ],
)
def test_a_runtime_that_breaks_a_rule_is_refused_in_kserves_words(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as caught:
        validate(changed)
    assert text in caught.value.message


@pytest.mark.parametrize(
    "allowed",
    [
        runtime("a", taken(1), taken(1, version="2")),
        runtime("a", taken(1), taken(None, version="2")),
        runtime("a", taken(1), taken(2, version="2", auto=False)),
        runtime("a", taken(1), taken(2, version="2"), disabled=True),
        runtime("a", taken(1), workerSpec={"pipelineParallelSize": 2, "containers": [{"name": "w"}]}),
    ],
)
def test_what_keeps_the_rules_passes(allowed: dict[str, Any]) -> None:
    validate(allowed)


def test_workers_may_not_be_taken_away() -> None:
    with pytest.raises(Invalid, match="removing workerSpec where it already exists is not allowed"):
        validate(runtime("a"), runtime("a", workerSpec={"containers": [{"name": "w"}]}))
