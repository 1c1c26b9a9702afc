"""KServe's choice of a runtime, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.runtimes import builtin
from colonnade.control.runtimes.selection import Refusal, Runtime, Runtimes, Wanted, candidates, choose

SKLEARN = Wanted("sklearn")


def runtime(name: str, *formats: dict[str, Any], created: str = "", namespace: str = "", **spec: Any) -> Runtime:
    """A runtime of the cluster; without formats it takes sklearn by itself."""
    given = list(formats) or [entry()]
    return Runtime(name, namespace, {"supportedModelFormats": given, **spec}, created=created)


def entry(
    name: str = "sklearn", version: str | None = None, auto: bool | None = True, priority: int | None = None
) -> Any:
    found = {"name": name, "version": version, "autoSelect": auto, "priority": priority}
    return {key: value for key, value in found.items() if value is not None}


def order(wanted: Wanted, *cluster: Runtime, namespaced: tuple[Runtime, ...] = ()) -> list[str]:
    return [found.name for found in candidates(wanted, Runtimes(namespaced, cluster))]


@pytest.mark.parametrize(
    ("wanted", "spec", "fits"),
    [
        (SKLEARN, {}, True),
        (SKLEARN, {"disabled": True}, False),
        (SKLEARN, {"multiModel": True}, False),
        (SKLEARN._replace(multi_model=True), {"multiModel": True}, True),
        (SKLEARN._replace(multi_model=True), {}, False),
        (SKLEARN, {"workerSpec": {"pipelineParallelSize": 1}}, False),
        (SKLEARN._replace(multi_node=True), {"workerSpec": {"pipelineParallelSize": 1}}, True),
        (SKLEARN._replace(multi_node=True), {}, False),
        (SKLEARN, {"protocolVersions": []}, True),
        (SKLEARN, {"protocolVersions": ["v2"]}, False),  # who asks for none asks for v1
        (SKLEARN, {"protocolVersions": ["v2", "v1"]}, True),
        (SKLEARN._replace(protocol="v2"), {"protocolVersions": ["v2"]}, True),
        (SKLEARN._replace(protocol="grpc-v2"), {"protocolVersions": ["v1", "v2"]}, False),
    ],
)
def test_who_is_a_candidate(wanted: Wanted, spec: dict[str, Any], fits: bool) -> None:
    assert order(wanted, runtime("a", **spec)) == (["a"] if fits else [])


@pytest.mark.parametrize(
    ("name", "version", "offered", "by_itself", "if_named"),
    [
        ("sklearn", None, entry(), True, True),
        ("sklearn", None, entry(version="1"), True, True),
        ("sklearn", "1", entry(version="1"), True, True),
        ("sklearn", "1", entry(), False, False),
        ("sklearn", "1", entry(version="1.0"), False, False),
        ("SKLearn", None, entry(), False, False),
        ("sklearn", None, entry(auto=False), False, True),
        ("sklearn", None, entry(auto=None), False, True),
        ("sklearn", "1", entry(version="1", auto=None), False, True),
    ],
)
def test_a_format_is_matched_by_exact_strings(
    name: str, version: str | None, offered: dict[str, Any], by_itself: bool, if_named: bool
) -> None:
    found = runtime("a", offered)
    assert found.serves(name, version, named=False) == by_itself
    assert found.serves(name, version, named=True) == if_named


def test_runtimes_of_the_namespace_stand_before_all_of_the_cluster() -> None:
    own = runtime("z", entry(priority=1), namespace="ns")
    assert order(SKLEARN, runtime("a", entry(priority=9)), namespaced=(own,)) == ["z", "a"]


@pytest.mark.parametrize(
    ("runtimes", "names"),
    [
        ([runtime("b"), runtime("a")], ["a", "b"]),
        ([runtime("a", created="2026-01-01T00:00:00Z"), runtime("b", created="2026-01-02T00:00:00Z")], ["b", "a"]),
        ([runtime("a"), runtime("b", created="2026-01-01T00:00:00Z")], ["b", "a"]),  # "": it was always there
        (
            [
                runtime("a", protocolVersions=["v2", "v1"], created="2026-01-01T00:00:00Z"),
                runtime("b", created="2026-01-02T00:00:00Z"),
            ],
            ["a", "b"],  # one that names no protocol is not the lowest
        ),
        ([runtime("a", entry(priority=1)), runtime("b", entry(priority=2)), runtime("c")], ["b", "a", "c"]),
        (
            [runtime("b", entry(priority=1)), runtime("a", entry(priority=1)), runtime("c", entry(priority=0))],
            ["a", "b", "c"],
        ),
        # The priority is that of the first entry of this name, also if that one is not chosen by itself.
        ([runtime("a", entry(auto=False), entry(priority=9)), runtime("b", entry(priority=1))], ["b", "a"]),
        ([runtime("a", entry("xgboost", priority=9), entry()), runtime("b", entry(priority=1))], ["b", "a"]),
    ],
)
def test_the_order(runtimes: list[Runtime], names: list[str]) -> None:
    assert order(SKLEARN, *runtimes) == names


def test_the_lowest_protocol_comes_first() -> None:
    wanted = SKLEARN._replace(protocol="grpc-v2")
    high, low = runtime("a", protocolVersions=["grpc-v2"]), runtime("b", protocolVersions=["grpc-v2", "v2"])
    assert order(wanted, high, low) == ["b", "a"]
    assert (low.lowest_protocol, runtime("c").lowest_protocol) == ("v2", "")


def refused(wanted: Wanted, *cluster: Runtime, namespaced: tuple[Runtime, ...] = ()) -> Refusal:
    found = choose(wanted, Runtimes(namespaced, cluster))
    assert isinstance(found, Refusal)
    return found


def test_a_named_runtime_is_looked_for_in_the_namespace_first() -> None:
    own, other = runtime("mine", namespace="ns", protocolVersions=["v2"]), runtime("mine")
    assert choose(SKLEARN._replace(runtime="mine"), Runtimes((own,), (other,))) is own
    assert choose(SKLEARN._replace(runtime="mine"), Runtimes((), (other,))) is other


@pytest.mark.parametrize(
    ("wanted", "spec", "reason", "text"),
    [
        (SKLEARN._replace(runtime="other"), {}, "RuntimeNotRecognized", "Waiting for runtime to become available"),
        (SKLEARN._replace(runtime="a"), {"disabled": True}, "RuntimeDisabled", "Specified runtime is disabled"),
        (
            SKLEARN._replace(runtime="a", protocol="v2"),
            {"protocolVersions": ["v1"]},
            "NoSupportingRuntime",
            "Specified runtime does not support specified protocol version",
        ),
        (
            SKLEARN._replace(runtime="a", name="xgboost"),
            {},
            "NoSupportingRuntime",
            "Specified runtime does not support specified framework/version",
        ),
        (
            SKLEARN._replace(name="xgboost", version="2"),
            {},
            "NoSupportingRuntime",
            "No runtime found to support specified framework/version: modelFormat xgboost 2",
        ),
    ],
)
def test_refusals_have_the_reasons_and_the_words_of_kserve(
    wanted: Wanted, spec: dict[str, Any], reason: str, text: str
) -> None:
    found = refused(wanted, runtime("a", **spec))
    assert found.reason == reason
    assert found.message.startswith(text)


def test_a_refusal_says_what_there_is_instead() -> None:
    found = refused(SKLEARN._replace(version="9"), runtime("a", entry(version="1"), protocolVersions=["v2"]))
    assert found.message.endswith("; there is sklearn 1 over v2 by a")
    assert refused(SKLEARN, runtime("a", disabled=True)).message.endswith("; a serves it and is disabled")


def test_a_named_runtime_that_speaks_another_protocol_than_v1_serves_who_asks_for_none() -> None:
    found = choose(SKLEARN._replace(runtime="a"), Runtimes((), (runtime("a", protocolVersions=["v2"]),)))
    assert isinstance(found, Runtime)


@pytest.mark.parametrize(
    ("name", "version", "protocol", "chosen"),
    [
        ("sklearn", None, None, "kserve-sklearnserver"),
        ("sklearn", None, "v1", "kserve-sklearnserver"),
        ("sklearn", "1", "v1", "kserve-sklearnserver"),
        ("sklearn", None, "v2", "kserve-mlserver"),
        ("sklearn", "0", "v2", "kserve-mlserver"),
        ("sklearn", "0", "v1", None),
        ("sklearn", None, "grpc-v2", "colonnade-sklearn"),
        ("sklearn", None, "grpc-v1", None),
        ("xgboost", None, "v1", "kserve-xgbserver"),
        ("xgboost", "1", "v2", "kserve-mlserver"),
        ("lightgbm", None, None, "kserve-lgbserver"),
        ("onnx", None, "v2", "kserve-tritonserver"),  # not OpenVINO, which KServe does not install
        ("onnx", None, "v1", "colonnade-onnx"),
        ("tensorflow", None, None, "kserve-tensorflow-serving"),
        ("tensorflow", None, "v2", "kserve-tritonserver"),
        ("tensorflow", "2", "grpc-v1", "kserve-tensorflow-serving"),
        ("pytorch", None, None, "kserve-torchserve"),
        ("pytorch", None, "v2", "kserve-torchserve"),
        ("mlflow", None, "v2", "kserve-mlserver"),
        ("mlflow", None, None, "colonnade-mlflow"),
        ("huggingface", None, "v2", "kserve-huggingfaceserver"),
        ("huggingface", None, None, "kserve-huggingfaceserver"),
        ("pmml", "4", None, "kserve-pmmlserver"),
        ("paddle", None, None, "kserve-paddleserver"),
        ("autogluon", None, "v2", "kserve-autogluonserver"),
        ("triton", None, "v2", "kserve-tritonserver"),
        ("tensorrt", None, "grpc-v2", "kserve-tritonserver"),
        ("vLLM", None, "v2", "kserve-vllmserver"),
        ("python", None, None, "colonnade-python"),
        ("openvino", None, None, None),
        ("spark", None, None, None),
    ],
)
def test_the_built_in_catalogue_chooses_as_kserves(
    name: str, version: str | None, protocol: str | None, chosen: str | None
) -> None:
    found = choose(Wanted(name, version, protocol), builtin.runtimes())
    assert (found.name if isinstance(found, Runtime) else None) == chosen


def test_a_runtime_is_the_same_whatever_it_may_be_chosen_for() -> None:
    one = runtime("a", containers=[{"name": "kserve-container"}])
    other = runtime("a", entry("xgboost"), containers=[{"name": "kserve-container"}], disabled=True)
    assert one.digest == other.digest
    assert one.digest != runtime("a", containers=[{"name": "kserve-container", "image": "i"}]).digest
    assert one.digest != runtime("a", namespace="ns", containers=[{"name": "kserve-container"}]).digest


def test_a_pinned_runtime_serves_whatever_the_others_are() -> None:
    kept = runtime("gone", namespace="ns", containers=[{"name": "kserve-container"}])
    found = choose(SKLEARN, Runtimes((), (runtime("a"),)).pinned(kept.snapshot()))
    assert isinstance(found, Runtime)
    assert (found.name, found.kind, found.digest) == ("gone", "ServingRuntime", kept.digest)
