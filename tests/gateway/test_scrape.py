"""The numbers of several gateways as one."""

from __future__ import annotations

from colonnade.gateway.breaker import State
from colonnade.gateway.guard import Guard
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.scrape import joined
from colonnade.gateway.shares import Shares

from .conftest import LABELS, REVISION


def rendered(ejected: int, state: State, in_flight: int) -> bytes:
    class Told(Guard):
        def ejected(self, now: float) -> int:
            return ejected

        @property
        def state(self) -> State:
            return state

    metrics = GatewayMetrics()
    guard = Told(Shares(100).share(), 0.0)
    guard.in_flight = in_flight
    metrics.revision(("default", "iris", "predictor", REVISION)).follow(guard)
    return metrics.render()


def test_opinions_on_the_same_thing_are_not_summed() -> None:
    text = joined([rendered(1, State.HALF_OPEN, 3), rendered(2, State.OPEN, 4), rendered(0, State.CLOSED, 0)]).decode()
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    labels = f"{{{LABELS}}}"
    assert numbers["colonnade_gateway_ejected_replicas" + labels] == "2"
    assert numbers["colonnade_gateway_breaker_state" + labels] == "2"
    assert numbers["colonnade_gateway_service_in_flight" + labels] == "7"
    assert numbers["colonnade_gateway_processes"] == "3"


def test_one_alone_is_told_as_it_is() -> None:
    text = rendered(1, State.OPEN, 3)
    assert joined([text]) == text
