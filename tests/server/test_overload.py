"""Tables and simulations of the entrance of a model's queue. No clock: time is a number."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass

import pytest

from colonnade.errors import DeadlineExceeded, Overloaded
from colonnade.server.overload import BURST, EVIDENCE, FEW, MEMORY, RUNS, SAMPLES, Admission

TARGET, INTERVAL = 1.0, 0.1


def admission(requests: int = 1000, size: int = 1 << 20) -> Admission:
    return Admission(requests, size, TARGET, INTERVAL)


def learned(seconds: float, requests: int = 1) -> Admission:
    """An idle model whose runs are known to take that long."""
    made = admission()
    for _ in range(requests):
        made.enqueued(0)
    made.started(0.0, 0.0, requests, 0)
    made.finished(seconds, requests, seconds)
    return made


def again(made: Admission, seconds: float) -> None:
    """One more run of an idle model."""
    made.enqueued(0)
    made.started(1.0, 0.0, 1, 0)
    made.finished(1.0 + seconds, 1, seconds)


def test_an_idle_model_takes_everything() -> None:
    made = learned(5.0)
    assert made.refuse(10.0, 1 << 30, None) is None
    assert made.refuse(10.0, 0, 10.1) is None  # or an estimate that is too high would stay for ever


@pytest.mark.parametrize(
    ("requests", "size", "one_more", "text"),
    [(2, 0, 0, "2 requests wait"), (1, 900, 101, "900 bytes of requests wait")],
)
def test_count_and_bytes_are_bounded(requests: int, size: int, one_more: int, text: str) -> None:
    made = Admission(2, 1000, TARGET, INTERVAL)
    made.enqueued(0)
    made.started(0.0, 0.0, 1, 0)
    for _ in range(requests):
        assert made.refuse(0.0, size, None) is None
        made.enqueued(size)
    refusal = made.refuse(0.0, one_more, None)
    assert isinstance(refusal, Overloaded)
    assert text in refusal.message
    assert refusal.retry_after == INTERVAL
    made.left(size)
    assert made.refuse(0.0, one_more, None) is None


@pytest.mark.parametrize(
    ("queued", "deadline", "refused"),
    [
        (0, 100.3, Overloaded),  # 0.2 s are left of the run, then come 0.2 s of its own
        (0, 100.41, None),
        (2, 100.7, Overloaded),
        (2, 100.81, None),
        (2, 100.0, DeadlineExceeded),
        (2, 99.0, DeadlineExceeded),
    ],
)
def test_what_cannot_end_before_its_deadline_is_refused_at_once(
    queued: int, deadline: float, refused: type[Exception] | None
) -> None:
    made = learned(0.2)
    made.enqueued(0)
    made.started(100.0, 0.0, 1, 0)
    for _ in range(queued):
        made.enqueued(0)
    refusal = made.refuse(100.0, 0, deadline)
    assert type(refusal) is (refused or type(None)), refusal


def test_a_burst_may_wait_above_the_target_for_an_interval() -> None:
    made = learned(0.01)
    late = 5.0 + 1.01 * INTERVAL
    for _ in range(101):
        assert made.refuse(5.0, 0, None) is None
        made.enqueued(0)
    assert made.estimated_wait > TARGET
    assert made.refuse(5.0, 0, None) is None
    assert made.refuse(5.0 + INTERVAL / 2, 0, None) is None
    refusal = made.refuse(late, 0, None)
    assert isinstance(refusal, Overloaded)
    made.left(0)  # the queue has drained to the target
    assert made.refuse(late, 0, None) is None


@pytest.mark.parametrize(("intervals", "burst"), [(MEMORY - 1, False), (MEMORY + 1, True)])
def test_an_overload_that_comes_back_soon_is_no_burst(intervals: float, burst: bool) -> None:
    made = learned(0.01)
    for _ in range(101):
        assert made.refuse(5.0, 0, None) is None
        made.enqueued(0)
    refused = 5.0 + 1.01 * INTERVAL
    assert made.refuse(5.0, 0, None) is None
    assert isinstance(made.refuse(refused, 0, None), Overloaded)
    made.left(0)
    assert made.refuse(refused, 0, None) is None
    made.enqueued(0)
    assert (made.refuse(refused + intervals * INTERVAL, 0, None) is None) == burst


def test_no_burst_may_wait_longer_than_its_bound() -> None:
    made = learned(0.01)
    for _ in range(SAMPLES - 1):
        again(made, 0.01)
    while made.refuse(5.0, 0, None) is None:
        made.enqueued(0)
    assert made.queued == BURST * TARGET / 0.01 + 1
    refusal = made.refuse(5.0, 0, None)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(made.estimated_wait - TARGET)


def test_a_busy_machine_refuses_no_burst() -> None:
    """A model that takes half a millisecond, and a machine that stood still during one run."""
    made = learned(0.05)
    for _ in range(SAMPLES + 1):
        again(made, 0.0005)
    again(made, 0.05)
    for _ in range(700):
        assert made.refuse(5.0, 0, None) is None
        made.enqueued(0)


def test_little_evidence_refuses_no_burst_and_a_slow_run_is_much() -> None:
    made, slow = learned(0.05), learned(EVIDENCE)
    for _ in range(FEW - 1):
        again(slow, EVIDENCE)
    for _ in range(100):
        assert made.refuse(5.0, 0, None) is None
        made.enqueued(0)
        slow.enqueued(0)
    assert isinstance(slow.refuse(5.0, 0, None), Overloaded)


def test_a_slow_model_may_always_hold_a_few_runs() -> None:
    made = learned(3.0)
    made.enqueued(0)
    made.started(0.0, 0.0, 1, 0)
    taken = 0
    while made.refuse(0.0, 0, None) is None and made.refuse(0.0 + INTERVAL, 0, None) is None:
        made.enqueued(0)
        taken += 1
    assert taken == RUNS


def test_batches_are_counted_by_what_leaves_the_queue() -> None:
    made = learned(0.1, requests=10)
    for _ in range(30):
        made.enqueued(0)
    assert made.estimated_wait == pytest.approx(0.3)


@dataclass
class Run:
    """What a simulation saw. Times in seconds."""

    served: int
    refused: int
    waits: list[float]


def simulate(rate: float, seconds: float, service: float, workers: int = 1, batch: int = 1, seed: int = 1) -> Run:
    """Poisson arrivals at a model whose run takes `service` seconds for up to `batch` requests."""
    draw = random.Random(seed)
    made = admission(100_000)
    queue: deque[float] = deque()
    running: list[tuple[float, float, int]] = []  # (end, seconds, requests)
    seen = Run(0, 0, [])

    def begin(now: float) -> None:
        while queue and len(running) < workers:
            taken = [queue.popleft() for _ in range(min(batch, len(queue)))]
            made.started(now, now - taken[0], len(taken), 0)
            seen.waits.extend(now - since for since in taken)
            took = service * draw.uniform(0.8, 1.2)
            heapq.heappush(running, (now + took, took, len(taken)))

    now = 0.0
    while now < seconds:
        now += draw.expovariate(rate)
        while running and running[0][0] <= now:
            end, took, count = heapq.heappop(running)
            made.finished(end, count, took)
            seen.served += count
            begin(end)
        if made.refuse(now, 0, None) is None:
            made.enqueued(0)
            queue.append(now)
            begin(now)
        else:
            seen.refused += 1
    return seen


@pytest.mark.parametrize(
    ("service", "workers", "batch"), [(0.005, 1, 1), (0.02, 4, 1), (0.02, 1, 16), (0.0005, 1, 1), (0.05, 2, 8)]
)
def test_at_three_times_the_capacity_goodput_stays_and_waits_keep_to_the_target(
    service: float, workers: int, batch: int
) -> None:
    capacity = workers * batch / service
    seen = simulate(3 * capacity, 30.0, service, workers, batch)
    assert seen.served >= 0.9 * capacity * 30.0
    waits = sorted(seen.waits)
    assert waits[int(len(waits) * 0.99)] <= 2 * TARGET
    assert seen.refused > 0.6 * 3 * capacity * 30.0 - capacity * BURST * TARGET


@pytest.mark.parametrize(("service", "workers", "batch"), [(0.005, 1, 1), (0.02, 4, 1), (0.02, 1, 16)])
def test_nothing_is_refused_below_the_capacity(service: float, workers: int, batch: int) -> None:
    seen = simulate(0.8 * workers * batch / service, 30.0, service, workers, batch)
    assert seen.refused == 0
