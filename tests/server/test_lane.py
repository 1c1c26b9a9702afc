"""The worker thread: order, limit, dropped work, coalesced results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from colonnade.errors import Overloaded
from colonnade.server.lane import Lane
from colonnade.server.overload import Admission

DEADLINE = 5.0


class Gate:
    """A call that says when it has begun and waits until it may end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.open.wait(DEADLINE)
        return "gate"


def collector(into: list[Any], wanted: int) -> tuple[Callable[[Any, Exception | None], None], asyncio.Event]:
    complete = asyncio.Event()

    def done(result: Any, error: Exception | None) -> None:
        into.append(result if error is None else error)
        if len(into) == wanted:
            complete.set()

    return done, complete


@pytest.fixture
async def lane() -> Any:
    lane = Lane("m", Admission(max_requests=4, max_bytes=1000, target=10.0, interval=1.0))
    yield lane
    lane.close()
    await asyncio.to_thread(lane.thread.join, DEADLINE)
    assert not lane.thread.is_alive()


async def test_results_come_in_order_on_the_loop(lane: Lane) -> None:
    results: list[Any] = []
    done, complete = collector(results, 4)
    for number in range(4):
        lane.submit(lambda number=number: (number, threading.current_thread() is lane.thread), done)
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert results == [(number, True) for number in range(4)]
    assert lane.load == 0


async def test_errors_reach_the_caller_and_the_thread_lives_on(lane: Lane) -> None:
    results: list[Any] = []
    done, complete = collector(results, 3)

    def leave() -> None:
        raise SystemExit(7)

    lane.submit(lambda: 1 / 0, done)
    lane.submit(leave, done)
    lane.submit(lambda: "well", done)
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert isinstance(results[0], ZeroDivisionError)
    assert isinstance(results[1].__cause__, SystemExit)
    assert results[2] == "well"


async def test_a_full_queue_refuses_and_recovers(lane: Lane) -> None:
    gate = Gate()
    results: list[Any] = []
    done, complete = collector(results, 5)
    lane.submit(gate, done)
    await asyncio.to_thread(gate.begun.wait, DEADLINE)
    for number in range(4):
        lane.submit(lambda number=number: number, done)
    with pytest.raises(Overloaded, match="4 requests wait for this model") as refusal:
        lane.submit(lambda: None, done)
    assert refusal.value.retry_after is not None
    gate.open.set()
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert results == ["gate", 0, 1, 2, 3]
    lane.submit(lambda: None, lambda result, error: None)


@pytest.mark.parametrize("handed_over", [False, True])
async def test_dropped_work_never_runs_and_frees_its_place(lane: Lane, handed_over: bool) -> None:
    """Work may be dropped while it waits on the loop, or after it went to the thread with others."""
    gate = Gate()
    ran: list[str] = []
    results: list[Any] = []
    done, complete = collector(results, 2)
    lane.submit(gate, done)
    if not handed_over:
        await asyncio.to_thread(gate.begun.wait, DEADLINE)
    work = lane.submit(lambda: ran.append("dropped"), done)
    if handed_over:
        await asyncio.to_thread(gate.begun.wait, DEADLINE)
    lane.drop(work)
    lane.drop(work)
    assert lane.load == 1
    lane.submit(lambda: ran.append("kept"), done)
    gate.open.set()
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert ran == ["kept"]
    assert lane.load == 0


async def test_dropping_what_runs_only_silences_it(lane: Lane) -> None:
    gate = Gate()
    results: list[Any] = []
    work = lane.submit(gate, lambda result, error: results.append(result))
    await asyncio.to_thread(gate.begun.wait, DEADLINE)
    lane.drop(work)
    assert not lane.idle
    gate.open.set()
    done, complete = collector(results, 1)
    lane.submit(lambda: "next", done)
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert results == ["next"]


async def test_a_failing_callback_costs_the_others_nothing(lane: Lane) -> None:
    loop = asyncio.get_running_loop()
    reported: list[Any] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    gate = Gate()
    results: list[Any] = []
    done, complete = collector(results, 1)

    def fail(result: Any, error: Exception | None) -> None:
        raise ValueError("callback")

    lane.submit(gate, fail)
    lane.submit(lambda: "kept", done)
    gate.open.set()
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert results == ["kept"]
    assert [str(error) for error in reported] == ["callback"]


async def test_what_has_become_quick_runs_on_the_loop_once_the_thread_is_free(lane: Lane) -> None:
    gate = Gate()
    results: list[Any] = []
    done, complete = collector(results, 4)
    lane.submit(gate, done)
    await asyncio.to_thread(gate.begun.wait, DEADLINE)
    for quick in (lambda: True, lambda: False, lambda: True):
        lane.submit(lambda: threading.current_thread() is lane.thread, done, quick)
    gate.open.set()
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert results == ["gate", False, True, True]  # the last one waits behind the one that is not quick
    assert lane.load == 0


async def test_a_failing_callback_on_the_loop_costs_the_others_nothing(lane: Lane) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    results: list[Any] = []
    done, complete = collector(results, 1)

    def fail(result: Any, error: Exception | None) -> None:
        raise ValueError("callback")

    lane.submit(lambda: None, fail, lambda: True)
    lane.submit(lambda: "kept", done, lambda: True)
    await asyncio.wait_for(complete.wait(), DEADLINE)
    assert results == ["kept"]
