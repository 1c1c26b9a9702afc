"""Admission, placement and eviction as tables, and what holds for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.platforms.budget import (
    GPU,
    MEMORY,
    MILLI,
    Claim,
    Held,
    Idle,
    Lack,
    Machine,
    Shortage,
    Waiting,
    evict,
    place,
    schedule,
)

MACHINE = Machine((0, 1, 2, 3), 4000, 8, ("0", "1"))


def gpu(*shares: tuple[str, int]) -> Held:
    return Held(Claim(gpu=sum(share for _, share in shares)), (), shares)


@pytest.mark.parametrize(
    ("claim", "held", "missing", "never"),
    [
        (Claim(), (Held(Claim(cpu=4000, memory=8)),), None, False),
        (Claim(cpu=1000), (Held(Claim(cpu=3000)),), None, False),
        (Claim(cpu=1001), (Held(Claim(cpu=3000)),), ("cpu", 1001, 1000, 4000), False),
        (Claim(memory=5), (Held(Claim(memory=4)),), (MEMORY, 5, 4, 8), False),
        (Claim(memory=9), (), (MEMORY, 9, 8, 8), True),
        (Claim(memory=1), (Held(Claim(memory=20)),), (MEMORY, 1, 0, 8), False),
        (Claim(gpu=3000), (), (GPU, 3000, 2000, 2000), True),
        (Claim(gpu=2000), (gpu(("0", 250)),), (GPU, 2000, 1750, 2000), False),
        (Claim(gpu=1000), (gpu(("0", 500)), gpu(("1", 500))), (GPU, 1000, 0, 2000), False),
        (Claim(gpu=600), (gpu(("0", 500)), gpu(("1", 500))), (GPU, 600, 500, 2000), False),
        (Claim(others=(("intel.com/gpu", 1),)), (), ("intel.com/gpu", 1, 0, 0), True),
    ],
)
def test_what_fits_and_what_is_missing(
    claim: Claim, held: tuple[Held, ...], missing: tuple[str, int, int, int] | None, never: bool
) -> None:
    found = place(MACHINE, held, claim)
    if missing is None:
        assert isinstance(found, Held)
    else:
        assert found == Lack((Shortage(*missing),), never)


def test_one_replica_never_gets_more_than_there_is_however_much_is_over_committed() -> None:
    machine = Machine((0, 1), 2000, 8, overcommit_cpu=4.0)
    assert isinstance(place(machine, [Held(Claim(cpu=2000))] * 3, Claim(cpu=2000)), Held)
    assert place(machine, [], Claim(cpu=3000)) == Lack((Shortage("cpu", 3000, 2000, 2000),), never=True)
    full = place(machine, [Held(Claim(cpu=2000))] * 4, Claim(cpu=1))
    assert full == Lack((Shortage("cpu", 1, 0, 8000),), never=False)


@pytest.mark.parametrize(
    ("wanted", "held", "devices"),
    [
        (1000, (), (("0", 1000),)),
        (2000, (), (("0", 1000), ("1", 1000))),
        (1000, (gpu(("0", 250)),), (("1", 1000),)),
        (250, (gpu(("1", 250)),), (("1", 250),)),  # a whole device stays whole
        (250, (gpu(("0", 500)), gpu(("1", 250))), (("0", 250),)),
        (250, (gpu(("7", 1000)),), (("0", 250),)),  # of a device that is no more
    ],
)
def test_devices(wanted: int, held: tuple[Held, ...], devices: tuple[tuple[str, int], ...]) -> None:
    found = place(MACHINE, held, Claim(gpu=wanted))
    assert isinstance(found, Held)
    assert found.gpus == devices


def test_cores_are_those_of_which_the_least_is_claimed() -> None:
    first = place(MACHINE, [], Claim(cpu=1000, pinned=2))
    assert isinstance(first, Held)
    assert first.cores == (0, 1)
    second = place(MACHINE, [first], Claim(pinned=1))
    assert isinstance(second, Held)
    assert second.cores == (2,)
    third = place(MACHINE, [first, second], Claim(pinned=2))
    assert isinstance(third, Held)
    assert third.cores == (2, 3)
    whole = place(MACHINE, [], Claim(pinned=4))
    assert isinstance(whole, Held)
    assert whole.cores == ()


def wait(key: str, since: float, priority: int = 0, **amounts: int) -> Waiting:
    return Waiting(key, Claim(**amounts), since, priority)


@pytest.mark.parametrize(
    ("waiting", "admitted"),
    [
        ([wait("b", 2, memory=4), wait("a", 1, memory=4), wait("c", 3, memory=4)], {"a", "b"}),
        ([wait("a", 1, memory=4), wait("b", 2, memory=4), wait("c", 3, 1, memory=4)], {"c", "a"}),
        # A large one that waits keeps what there is from those behind it, and what it does not need it does not keep.
        ([wait("big", 1, memory=8), wait("small", 2, memory=1)], set()),
        ([wait("big", 1, memory=8), wait("other", 2, cpu=1000)], {"other"}),
        ([wait("big", 1, memory=8), wait("none", 2)], {"none"}),
        # What never fits keeps nothing.
        ([wait("never", 1, memory=9), wait("small", 2, memory=6)], {"small"}),
        ([wait("pair", 1, gpu=2000), wait("share", 2, gpu=250)], set()),
    ],
)
def test_the_line(waiting: list[Waiting], admitted: set[str]) -> None:
    held = [Held(Claim(memory=0), (), ()), *([Held(Claim(memory=1))] if waiting[0].key == "big" else [])]
    held += [gpu(("0", 250))] if waiting[0].key == "pair" else []
    plan = schedule(MACHINE, held, waiting)
    assert set(plan.admit) == admitted
    assert set(plan.lacks) == {one.key for one in waiting} - admitted


def idle(key: str, used: float) -> Idle:
    return Idle(key, used, frozenset({key}))


@pytest.mark.parametrize(
    ("held", "need", "gone"),
    [
        ({"a": 4, "b": 4}, 4, ["a"]),
        ({"a": 4, "b": 4}, 8, ["a", "b"]),
        ({"a": 4, "b": 2}, 2, []),  # it fits already
        ({"a": 1, "b": 4, "c": 2, "busy": 1}, 4, ["b"]),  # the first alone is not enough, and the second alone is
        ({"a": 1, "b": 1, "busy": 6}, 4, []),  # for nothing, nobody goes
        ({"a": 2, "b": 2, "c": 4}, 4, ["a", "b"]),
    ],
)
def test_who_makes_room(held: dict[str, int], need: int, gone: list[str]) -> None:
    claims = {key: Held(Claim(memory=amount)) for key, amount in held.items()}
    able = [idle(key, used) for used, key in enumerate(held) if key != "busy"]
    assert [one.key for one in evict(MACHINE, claims, Claim(memory=need), reversed(able))] == gone


claims = st.builds(
    Claim,
    cpu=st.integers(0, 5000),
    memory=st.integers(0, 9),
    gpu=st.sampled_from([0, 0, 100, 250, 500, 999, 1000, 2000, 3000]),
    pinned=st.integers(0, 4),
)
lines = st.lists(st.tuples(claims, st.integers(0, 9), st.integers(0, 2)), max_size=8).map(
    lambda rows: [Waiting(str(key), *row) for key, row in enumerate(rows)]
)


@settings(max_examples=200, deadline=None)
@given(lines, st.floats(1, 4))
def test_no_decision_goes_over_the_budget(waiting: list[Waiting], over: float) -> None:
    machine = Machine((0, 1, 2, 3), 4000, 8, ("0", "1"), overcommit_cpu=over)
    held = list(schedule(machine, [], waiting).admit.values())
    for resource, most in machine.claimable.items():
        assert sum(getattr(each.claim, resource) for each in held) <= most
    for device in machine.gpus:
        assert sum(share for each in held for name, share in each.gpus if name == device) <= MILLI
    for each in held:
        assert sum(share for _, share in each.gpus) == each.claim.gpu
        assert len(set(each.cores)) == (each.claim.pinned if 0 < each.claim.pinned < 4 else 0)


@settings(max_examples=200, deadline=None)
@given(lines)
def test_all_that_can_fit_run_in_the_end_if_replicas_come_to_an_end(waiting: list[Waiting]) -> None:
    """Nobody starves: each time the line is decided on, what runs ends, and meanwhile small ones keep coming."""
    left = {one.key: one for one in waiting}
    for turn in range(len(waiting) + 1):
        small = [Waiting(f"small{turn}-{number}", Claim(cpu=500, memory=1), 100 + turn) for number in range(8)]
        plan = schedule(MACHINE, [], [*left.values(), *small])
        for key in plan.admit:
            left.pop(key, None)
    assert all(isinstance(found := place(MACHINE, [], one.claim), Lack) and found.never for one in left.values())


@settings(max_examples=200, deadline=None)
@given(lines, claims, st.sets(st.integers(0, 7)))
def test_who_makes_room_is_idle_is_enough_and_is_not_more(waiting: list[Waiting], claim: Claim, able: set[int]) -> None:
    held = dict(schedule(MACHINE, [], waiting).admit)
    sleepers = [idle(str(key), key) for key in able if str(key) in held]
    gone = evict(MACHINE, held, claim, sleepers)
    assert set(gone) <= set(sleepers)
    assert [one.used for one in gone] == sorted(one.used for one in gone)

    def fits(without: set[str]) -> bool:
        return isinstance(place(MACHINE, [each for key, each in held.items() if key not in without], claim), Held)

    names = {one.key for one in gone}
    if gone:
        assert not fits(set())
        assert fits(names)
        assert all(not fits(names - {one.key}) for one in gone)
    elif not fits(set()):
        assert not fits({one.key for one in sleepers})
