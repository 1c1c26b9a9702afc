"""One timer for all requests: each ends at its own deadline, and those that ended before are left alone."""

from __future__ import annotations

import asyncio

from colonnade.gateway.timeouts import SLOT, Timeouts

from .conftest import until


async def test_each_ends_at_its_own_deadline_in_order() -> None:
    expired: list[str] = []
    loop = asyncio.get_running_loop()
    begun = loop.time()
    at: dict[str, float] = {}

    def note(item: str) -> None:
        expired.append(item)
        at[item] = loop.time() - begun

    timeouts: Timeouts[str] = Timeouts(note)
    after = {"last": 0.15, "first": 0.03, "second": 0.09, "gone": 0.06}
    slots = {name: timeouts.add(name, begun + seconds) for name, seconds in after.items()}
    timeouts.remove("gone", slots["gone"])
    await until(lambda: len(expired) == 3)
    assert expired == ["first", "second", "last"]
    assert all(at[name] >= after[name] - 1e-6 for name in expired)  # sums of floats


async def test_what_is_removed_is_forgotten_and_what_comes_later_is_watched() -> None:
    expired: list[int] = []
    timeouts: Timeouts[int] = Timeouts(expired.append)
    loop = asyncio.get_running_loop()
    for number in range(1000):
        timeouts.remove(number, timeouts.add(number, loop.time() + 2 * SLOT))
    timeouts.add(1000, loop.time() + 2 * SLOT)
    await until(lambda: bool(expired))
    timeouts.add(1001, loop.time())
    await until(lambda: len(expired) == 2)
    assert expired == [1000, 1001]


async def test_one_that_fails_keeps_no_other_from_its_end() -> None:
    expired: list[int] = []
    errors: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def fail(number: int) -> None:
        expired.append(number)
        if number == 0:
            raise RuntimeError("once")

    timeouts: Timeouts[int] = Timeouts(fail)
    for number in range(2):
        timeouts.add(number, loop.time() + number * 2 * SLOT)
    await until(lambda: expired == [0, 1])
    assert len(errors) == 1


async def test_one_that_fails_keeps_no_other_of_its_slot_from_its_end() -> None:
    expired: list[int] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)

    def fail(number: int) -> None:
        expired.append(number)
        raise RuntimeError(number)

    timeouts: Timeouts[int] = Timeouts(fail)
    deadline = loop.time() + SLOT
    for number in range(3):
        timeouts.add(number, deadline)
    await until(lambda: sorted(expired) == [0, 1, 2])


async def test_one_that_expires_may_end_another_of_its_slot() -> None:
    expired: list[int] = []
    loop = asyncio.get_running_loop()
    slots: list[int] = []

    def end_other(number: int) -> None:
        expired.append(number)
        timeouts.remove(1 - number, slots[1 - number])

    timeouts: Timeouts[int] = Timeouts(end_other)
    deadline = loop.time() + SLOT
    slots += [timeouts.add(number, deadline) for number in range(2)]
    await until(lambda: bool(expired))
    await asyncio.sleep(2 * SLOT)
    assert len(expired) == 1


async def test_slots_do_not_outlive_what_is_in_them() -> None:
    expired: list[int] = []
    timeouts: Timeouts[int] = Timeouts(expired.append)
    begun = asyncio.get_running_loop().time()
    for number in range(10_000):
        timeouts.remove(number, timeouts.add(number, begun + 3600.0 + number))
    assert not timeouts._slots
    assert len(timeouts._order) < 100
    timeouts.add(1, begun + SLOT)
    await until(lambda: expired == [1])
    assert timeouts._timer is None, "it was for what is gone"
