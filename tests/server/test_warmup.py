"""The first calls of a model, before anybody waits for them."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

from colonnade.model.contract import Model
from colonnade.runtimes import tables
from colonnade.server.execution import Execution, Mode, Policy
from colonnade.server.lane import Lane
from colonnade.server.warmup import Budget
from colonnade.wire.tensors import InferRequest, Tensor

from .replica import Start

AMPLE = 60.0  # seconds


class Doubling(Model):
    """Notes the rows of each call and the thread that makes it."""

    max_batch_size = 16
    inline = True

    def __init__(self) -> None:
        super().__init__("m")
        self.calls: list[int] = []
        self.threads: set[str] = set()

    def example(self) -> InferRequest | None:
        return tables.example(self.name, 3)

    def predict(self, x: np.ndarray) -> np.ndarray:
        self.calls.append(len(x))
        self.threads.add(threading.current_thread().name)
        return x * 2


class Centring(Doubling):
    """Breaks its promise: an answer depends on the other rows of its call."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x - x.mean(axis=0)


class Unready(Doubling):
    """Its example does not fit it."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        raise ValueError("no such rows")


class Raising(Doubling):
    """Its example cannot be made."""

    def example(self) -> InferRequest | None:
        raise RuntimeError("no example")


class Silent(Doubling):
    """Has no example."""

    def example(self) -> InferRequest | None:
        return None


class Alone(Doubling):
    """Takes no rows of several requests, and a fixed number of its own."""

    max_batch_size = 0

    def example(self) -> InferRequest | None:
        return InferRequest(self.name, [Tensor.of("x", np.ones((7, 3), np.float32))])


async def _warmed(model: Model, seconds: float = AMPLE, **policy: Any) -> tuple[Execution, list[tuple[str, float]]]:
    """What runs the model after its first calls, and what they were counted as."""
    observed: list[tuple[str, float]] = []
    settings = Policy(**policy)
    lane = Lane("m", settings.admission())
    execution = Execution([(model, lane)], settings, lambda hook: lambda value: observed.append((hook, value)))
    await execution.warm_up(seconds)
    return execution, observed


async def test_its_limit_and_its_place_are_known_before_the_first_request() -> None:
    model = Doubling()
    execution, observed = await _warmed(model)
    assert execution.batcher is not None
    (gain,) = execution.batcher._gains.values()
    assert gain.settled
    assert execution._times is not None
    assert execution._times.loop_size > 0
    assert model.threads == {"model-m"}
    assert max(model.calls) <= 16
    assert observed == [], "nobody made these calls, so no metric counts them"


async def test_a_model_whose_rows_are_not_independent_is_given_those_of_one_request_only() -> None:
    execution, _ = await _warmed(Centring())
    assert execution.batcher is None


@pytest.mark.parametrize("kind", [Unready, Raising, Silent])
async def test_a_model_that_cannot_be_tried_out_is_served_all_the_same(kind: type[Doubling]) -> None:
    execution, observed = await _warmed(kind())
    assert execution.batcher is not None
    assert observed == []


async def test_a_model_that_shares_no_calls_is_timed_on_its_whole_example() -> None:
    model = Alone()
    execution, _ = await _warmed(model)
    assert set(model.calls) == {7}
    assert execution._times is not None
    assert execution._times.loop_size > 0


async def test_without_time_the_first_call_is_the_only_one() -> None:
    model = Doubling()
    await _warmed(model, seconds=0.0)
    assert len(model.calls) <= 2


async def test_what_may_not_run_on_the_loop_is_not_timed_for_it() -> None:
    execution, _ = await _warmed(Doubling(), mode=Mode.THREAD)
    assert execution._times is None


def test_a_budget_is_what_the_clock_leaves_of_it() -> None:
    ticks = itertools.count()
    budget = Budget(3.0, lambda: float(next(ticks)))
    assert budget.allows(1.5)  # 1 + 1.5 < 3
    assert not budget.allows(1.5)


def test_a_model_in_a_process_is_tried_out_there(start: Start) -> None:
    code = """
        import numpy as np
        from colonnade import InferRequest, Model, Tensor

        class Tried(Model):
            max_batch_size = 8
            seen = 0

            def example(self):
                return InferRequest("m", [Tensor.of("x", np.arange(6.0).reshape(3, 2))])

            def predict(self, x: np.ndarray) -> np.ndarray:
                self.seen += 1
                return np.full(len(x), self.seen > 1)
    """
    replica = start("--model-name", "m", "--execution", "process", code=code).ready()
    answer = replica.http.post("/v1/models/m:predict", json={"instances": [[1.0, 2.0]]})
    assert answer.json() == {"predictions": [True]}, "this was not its first call"
