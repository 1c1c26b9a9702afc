"""The keyed queue: deduplication, one worker per key, delays, back-off."""

from __future__ import annotations

import asyncio

import pytest

from colonnade.control.controller import Controller
from colonnade.control.workqueue import Key, WorkQueue, backoff
from colonnade.errors import Conflict

A, B = Key("ns", "a"), Key("ns", "b")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (5000, 60.0)])
def test_backoff_doubles_up_to_a_limit(failures: int, seconds: float) -> None:
    assert backoff(failures) == seconds


async def test_a_key_is_queued_once() -> None:
    queue = WorkQueue()
    for key in (A, B, A, A):
        queue.add(key)
    assert [await queue.take(), await queue.take()] == [A, B]
    queue.done(A)
    queue.done(B)
    assert queue.idle


async def test_a_key_that_changes_under_work_is_looked_at_again_and_never_twice_at_a_time() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await queue.take() == A
    queue.add(A)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.02)
    queue.done(A)
    assert await queue.take() == A


async def test_of_several_delays_the_shortest_counts() -> None:
    queue = WorkQueue()
    queue.add(A, 30.0)
    queue.add(A, 0.01)
    queue.add(A, 20.0)
    assert await asyncio.wait_for(queue.take(), 5) == A
    queue.close()


async def test_a_failing_key_comes_back_later_and_later_until_it_succeeds() -> None:
    queue, delays = WorkQueue(), []
    for _ in range(3):
        queue.add(A)
        await queue.take()
        delays.append(queue.retry(A))
    assert delays == [0.5, 1.0, 2.0]
    queue.add(A)
    await queue.take()
    queue.done(A)
    queue.add(A)
    await queue.take()
    assert queue.retry(A) == 0.5
    queue.close()


async def test_a_controller_survives_failures_and_works_on_keys_side_by_side() -> None:
    seen: list[Key] = []
    together = asyncio.Event()
    inside = 0

    async def reconcile(key: Key) -> float | None:
        nonlocal inside
        seen.append(key)
        inside += 1
        if inside == 2:
            together.set()
        await asyncio.wait_for(together.wait(), 5)
        inside -= 1
        if seen.count(key) == 1:
            raise Conflict("stale") if key == A else RuntimeError("fault")
        return None

    controller = Controller("test", reconcile, concurrency=2)
    task = asyncio.create_task(controller.run(lambda: [A, B]))
    async with asyncio.timeout(10):
        while not (seen.count(A) == 2 and seen.count(B) == 2 and controller.idle):
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
