"""Kept answers: what is equal, how long, how many, and what a request may say about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest

from colonnade.model.binding import Operation, bind
from colonnade.model.contract import Model
from colonnade.server.batch import Call
from colonnade.server.response_cache import CachedStart, Directives, ResponseCache, digest, directives
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor

from .replica import Replica, Start, until


class Double(Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x * 2


INFER, PREDICT = (bind(Double("m")).infer, bind(Double("m")).predict_v1)


def request(values: Any = (1.0, 2.0), dtype: str = "f4", name: str = "x", **fields: Any) -> InferRequest:
    return InferRequest("m", [Tensor.of(name, np.array(values, dtype=dtype))], **fields)


def text(*values: bytes) -> InferRequest:
    return InferRequest("m", [Tensor("x", "BYTES", (len(values),), np.array(values, dtype=object))])


def test_equal_requests_have_equal_keys() -> None:
    key = digest(b"s", INFER, request())
    assert key == digest(b"s", INFER, request(id="other"))
    assert key == digest(b"s", INFER, request(np.array([1.0, 9.0, 2.0])[::2]))
    assert digest(b"s", PREDICT, {"instances": [[1]]}) == digest(b"s", PREDICT, {"instances": [[1]]})


DIFFERENT = [
    request(),
    request([1.0, 3.0]),
    request([[1.0, 2.0]]),
    request(dtype="f8"),
    request(np.array([1.0, 2.0], dtype="f4").view("i4"), dtype="i4"),
    request(name="y"),
    request(parameters={"a": 1}),
    request(parameters={"a": 2}),
    request(outputs=[RequestedOutput("o")]),
    request(outputs=[RequestedOutput("o", {"binary_data": True})]),
    InferRequest("m", [Tensor.of("x", np.ones(1, "f4")), Tensor.of("x", np.ones(1, "f4"))]),
    text(b"ab", b"c"),
    text(b"a", b"bc"),
    text(b"abc"),
]


def test_what_may_change_an_answer_changes_the_key() -> None:
    keys = {digest(b"s", INFER, each) for each in DIFFERENT}
    assert None not in keys
    assert len(keys) == len(DIFFERENT)
    assert digest(b"s", INFER, request()) != digest(b"t", INFER, request())
    assert digest(b"s", INFER, {"a": 1}) != digest(b"s", PREDICT, {"a": 1})


@pytest.mark.parametrize("payload", [b"bytes", {"a": object()}, None])
def test_what_cannot_be_compared_has_no_key(payload: Any) -> None:
    assert digest(b"s", PREDICT, payload) is None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", Directives()),
        (b"no-cache", Directives(max_age=0.0)),
        (b"No-Store", Directives(stores=False, max_age=0.0)),
        (b"max-age=5", Directives(max_age=5.0)),
        (b'max-age="5", max-age=7', Directives(max_age=5.0)),
        (b"max-age=x, foo, =, ,", Directives()),
        (b"only-if-cached, max-age=0", Directives(max_age=0.0, only_cached=True)),
    ],
)
def test_directives(header: bytes, said: Directives) -> None:
    assert directives(header) == said


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_no_more_than_its_bytes_and_drops_what_was_asked_for_the_longest_ago() -> None:
    cache = ResponseCache(5000)
    for name in (b"a", b"b", b"c"):
        assert cache.keep(name, name, 1000)
    assert cache.find(b"a", 1.0) is not None
    assert cache.keep(b"d", b"d", 1000)
    assert cache.find(b"b", 1.0) is None
    assert cache.find(b"a", 1.0) is not None
    assert cache.size <= 5000
    assert not cache.keep(b"e", b"e", 5000)
    assert (cache.hits, cache.misses, len(cache)) == (2, 1, 3)
    cache.keep(b"a", b"again", 100)
    assert len(cache) == 3
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


def test_answers_age() -> None:
    clock = Clock()
    cache = ResponseCache(5000, 10.0, clock)
    cache.keep(b"a", "kept", 1)
    clock.now += 4
    assert cache.find(b"a", 5.0) == ("kept", 4.0)
    assert cache.find(b"a", 3.0) is None
    assert cache.find(b"a", 0.0) is None
    clock.now += 6
    assert cache.find(b"a", 99.0) is None
    assert len(cache) == 0


class Recorded(Call):
    """A call that keeps what it gets."""

    def __init__(self, filled: dict[str, str] | None = None) -> None:
        super().__init__()
        self.filled = filled or {}
        self.outcome: tuple[Any, Exception | None] | None = None

    def settle(self, result: Any, error: Exception | None) -> None:
        self.outcome = (result, error)

    @property
    def request_headers(self) -> Mapping[str, str]:
        return {}

    @property
    def response_headers(self) -> dict[str, str]:
        return self.filled


class Starts:
    """Answers at once, and counts."""

    def __init__(self, answer: Any = None, error: Exception | None = None) -> None:
        self.count = 0
        self._answer = answer
        self._error = error

    def __call__(self, call: Call, operation: Operation, payload: Any, size: int) -> None:
        self.count += 1
        answer = self._answer
        if answer is None and self._error is None:
            answer = operation(payload)
        call.settle(answer, self._error)


def test_the_second_request_gets_the_first_ones_answer_under_its_own_id() -> None:
    starts = Starts()
    cached = CachedStart(ResponseCache(1 << 20), starts)
    first, second = Recorded(), Recorded()
    given = request(id="1")
    cached.start(first, INFER, given, 8, None)
    assert first.filled == {"cache-status": "colonnade; fwd=miss; stored"}
    assert first.outcome is not None
    first.outcome[0].outputs[0].data[:] = 99  # whatever becomes of the first answer
    cached.start(second, INFER, request(id="2"), 8, None)
    assert second.outcome is not None
    result = second.outcome[0]
    assert (result.id, result.outputs[0].data.tolist(), starts.count) == ("2", [2.0, 4.0], 1)
    assert second.filled == {"cache-status": "colonnade; hit", "age": "0"}


def test_an_id_of_the_models_own_is_kept() -> None:
    starts = Starts(InferResponse("m", [Tensor.of("y", np.ones(1))], "own"))
    cached = CachedStart(ResponseCache(1 << 20), starts)
    for identity in ("1", "2"):
        call = Recorded()
        cached.start(call, INFER, request(id=identity), 8, None)
        assert call.outcome is not None
        assert call.outcome[0].id == "own"


def test_v1_answers_are_kept_as_json() -> None:
    starts = Starts()
    cached = CachedStart(ResponseCache(1 << 20), starts)
    for _ in range(2):
        call = Recorded()
        cached.start(call, PREDICT, {"instances": [[1.5]]}, 8, None)
    assert call.outcome is not None
    assert call.outcome[0] == msgspec.Raw(b'{"predictions":[[3.0]]}')
    assert starts.count == 1


async def _parts() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("starts", "filled"),
    [
        (Starts(error=ValueError("no")), None),
        (Starts({"predictions": _parts()}), None),
        (Starts(b"bytes"), None),
        (Starts({"predictions": [1]}), {"x-own": "header"}),
    ],
)
def test_what_is_not_kept(starts: Starts, filled: dict[str, str] | None) -> None:
    cached = CachedStart(ResponseCache(1 << 20), starts)
    for count in (1, 2):
        cached.start(Recorded(dict(filled) if filled else None), PREDICT, {"a": 1}, 8, None)
        assert starts.count == count


def test_a_request_may_refuse_a_kept_answer_or_to_be_kept() -> None:
    starts = Starts()
    cached = CachedStart(ResponseCache(1 << 20), starts)

    def ask(control: bytes | None) -> int:
        cached.start(Recorded(), INFER, request(), 8, control)
        return starts.count

    assert [ask(b"no-store"), ask(None), ask(None)] == [1, 2, 2]
    assert [ask(b"no-cache"), ask(b"max-age=0"), ask(b"max-age=60")] == [3, 4, 4]


CODE = """
    import numpy as np
    from colonnade import Model

    class Counting(Model):
        calls = 0

        def predict(self, x: np.ndarray) -> np.ndarray:
            self.calls += 1
            if x[0] < 0:
                raise ValueError("negative")
            return np.array([self.calls])
"""


def _v2(value: float) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [value]}]}


@pytest.fixture(scope="module")
def counting(start: Start) -> Replica:
    return start("--model-name", "m", "--response-cache", "1Mi", code=CODE).ready()


def _ask(replica: Replica, value: float, **headers: str) -> tuple[int, str | None]:
    answer = replica.http.post("/v2/models/m/infer", json=_v2(value), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]["data"][0], answer.headers.get("cache-status")


def test_a_replica_keeps_answers_over_http(counting: Replica) -> None:
    before = counting.metric('response_cache_total{model_name="m",result="hit"}')
    first, stored = _ask(counting, 1.0)
    assert stored == "colonnade; fwd=miss; stored"
    assert _ask(counting, 1.0) == (first, "colonnade; hit")
    assert _ask(counting, 2.0)[0] > first
    assert _ask(counting, 1.0, **{"cache-control": "no-cache"})[0] > first
    assert counting.metric('response_cache_total{model_name="m",result="hit"}') == before + 1
    assert counting.metric('response_cache_bytes{model_name="m"}') > 0


def test_a_replica_keeps_answers_over_v1_and_no_failures(counting: Replica) -> None:
    def v1(value: float) -> Any:
        return counting.http.post("/v1/models/m:predict", json={"instances": [value]})

    assert v1(5.0).json() == v1(5.0).json()
    assert v1(5.0).headers["age"] == "0"
    assert [v1(-1.0).status_code, v1(-1.0).status_code] == [500, 500]
    only = counting.http.post(
        "/v1/models/m:predict", json={"instances": [77.0]}, headers={"cache-control": "only-if-cached"}
    )
    assert only.status_code == 504


def test_grpc_shares_what_http_has_kept(counting: Replica) -> None:
    first, _ = _ask(counting, 8.0)
    message = pb.ModelInferRequest(model_name="m", id="g")
    tensor = message.inputs.add(name="x", datatype="FP64", shape=[1])
    tensor.contents.fp64_contents.append(8.0)
    with grpc.insecure_channel(counting.grpc) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer, made = call.with_call(message, timeout=30)
    assert answer.id == "g"
    assert np.frombuffer(answer.raw_output_contents[0], "i8")[0] == first if answer.raw_output_contents else True
    assert ("cache-status", "colonnade; hit") in made.trailing_metadata()


def test_a_model_that_is_loaded_again_answers_itself(counting: Replica) -> None:
    _ask(counting, 3.0)
    _ask(counting, 3.0)
    assert counting.http.post("/v2/repository/models/m/load").status_code == 200
    until(lambda: _ask(counting, 3.0)[1] is not None, "an answer")
    assert _ask(counting, 3.0)[0] == 1


def test_without_the_flag_nothing_is_kept(start: Start) -> None:
    replica = start("--model-name", "m", code=CODE).ready()
    assert _ask(replica, 1.0)[1] is None
    assert _ask(replica, 1.0)[0] == 2
