"""How the places of a gateway are shared out."""

from __future__ import annotations

import pytest

from colonnade.defaults import IN_FLIGHT_BORROW
from colonnade.gateway.shares import Shares


def filled(limit: int, services: int) -> list[int]:
    """The places that flooded services hold, which ask in turn until nobody gets another one."""
    shares, held = Shares(limit), [0] * services
    while True:
        before = list(held)
        for index in range(services):
            if shares.admits(held[index]):
                held[index] += 1
                shares.taken += 1
        if held == before:
            return held


@pytest.mark.parametrize("services", [1, 2, 3, 10, 100])
def test_flooded_services_get_equal_shares_and_leave_some_free(services: int) -> None:
    held = filled(4096, services)
    assert max(held) - min(held) <= 1
    assert sum(held) == pytest.approx(4096 * services * IN_FLIGHT_BORROW / (1 + services * IN_FLIGHT_BORROW), rel=0.03)
    assert sum(held) < 4096


def test_a_service_that_borrowed_gets_no_new_place_until_it_is_down_to_its_share() -> None:
    shares = Shares(1000)
    flooded = 0
    while shares.admits(flooded):
        flooded += 1
        shares.taken += 1
    assert flooded == 800
    other = 0
    while shares.admits(other):  # the newcomer takes what is free, and the flooded one's limit falls
        other += 1
        shares.taken += 1
    assert other == 160
    for _ in range(400):  # its requests end; the places go to the other one
        shares.taken -= 1
        flooded -= 1
        assert shares.admits(flooded) == (flooded < IN_FLIGHT_BORROW * (1000 - shares.taken))
        while shares.admits(other):
            other += 1
            shares.taken += 1
    assert other > flooded * 0.9


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_smallest_limits_serve(limit: int) -> None:
    assert filled(limit, 1) == [limit]
    assert not Shares(0).admits(0)
