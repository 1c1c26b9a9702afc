"""What the product must reach, and whether it did. Pure: a goal reads figures and gives a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.results import Series, Spread, difference, ratio
from bench.servers import PEERS, PYTHON_PEERS


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Goal:
    """One promise.

    Attributes:
        workload: on which work.
        server: of whom.
        text: what is promised, as the report shows it.
        read: the figure that is held against the bound.
        bound: in the figure's unit.
        at_least: the figure must reach the bound; else it must not pass it.
        unit: of figure and bound: "×", "s", "MB" and the like.
    """

    workload: str
    server: str
    text: str
    read: Callable[[Series, str], Spread | None]
    bound: float
    at_least: bool = True
    unit: str = "×"

    def judge(self, results: Mapping[str, Series]) -> tuple[Spread | None, Verdict]:
        """The figure of a run and whether its median keeps the promise."""
        series = results.get(self.workload)
        spread = self.read(series, self.server) if series is not None else None
        if spread is None:
            return None, Verdict.UNMEASURED
        kept = spread.median >= self.bound if self.at_least else spread.median <= self.bound
        return spread, Verdict.MET if kept else Verdict.MISSED


def _over(*bases: str, measure: str, best: bool = True) -> Callable[[Series, str], Spread | None]:
    return lambda series, server: ratio(series, server, bases, measure, best=best)


def _value(measure: str) -> Callable[[Series, str], Spread | None]:
    return lambda series, server: Spread.of(series.values(server, measure))


def _more_us(base: str, measure: str) -> Callable[[Series, str], Spread | None]:
    def read(series: Series, server: str) -> Spread | None:
        found = difference(series, server, [base], measure)
        return found and Spread(*(value * 1e3 for value in found))

    return read


def _overload(server: str) -> tuple[Goal, ...]:
    return (
        Goal("overload", server, "goodput ≥ 0.9 × capacity", _value("goodput"), 0.9),
        Goal("overload", server, "p99 of accepted ≤ 2 × target", _value("p99.targets"), 2.0, at_least=False),
        Goal("overload", server, "recovery ≤ 2 s", _value("recovery.s"), 2.0, at_least=False, unit="s"),
    )


_PYTHON = PYTHON_PEERS

GOALS: tuple[Goal, ...] = (
    Goal("iris-onnx", "replica", "≥ 0.9 × bare loop", _over("bare", measure="64.rps"), 0.9),
    Goal("iris-onnx", "gateway", "≥ 0.6 × bare loop", _over("bare", measure="64.rps"), 0.6),
    Goal("iris-onnx", "gateway", "≥ 12 × best Python peer", _over(*_PYTHON, measure="64.rps"), 12),
    Goal("iris-onnx", "gateway", "≥ 5 × Triton", _over("triton", measure="64.rps"), 5),
    Goal("iris-sklearn", "replica", "≥ 3 × bare unbatched loop", _over("bare", measure="64.rps"), 3),
    Goal("iris-sklearn", "gateway", "≥ 8 × best Python peer", _over(*_PYTHON, measure="64.rps"), 8),
    Goal("binary", "replica", "≥ 0.75 × bare loop", _over("bare", measure="16.rps"), 0.75),
    Goal("binary", "replica", "≥ 2.5 × Triton", _over("triton", measure="16.rps"), 2.5),
    Goal("binary", "gateway", "≥ 1.2 × Triton", _over("triton", measure="16.rps"), 1.2),
    Goal("floats", "replica", "≥ 0.9 × bare loop", _over("bare", measure="16.rps"), 0.9),
    Goal("floats", "gateway", "≥ 2.5 × best peer", _over(*PEERS, measure="16.rps"), 2.5),
    Goal("forest", "replica", "≥ 0.6 × bare loop with batching", _over("bare-batched", measure="64.rps"), 0.6),
    Goal("forest", "gateway", "≥ 0.9 × Triton", _over("triton", measure="64.rps"), 0.9),
    Goal("forest", "gateway", "≥ 4 × best Python peer", _over(*_PYTHON, measure="64.rps"), 4),
    Goal("forest", "compiled", "≥ 15 × best Python peer", _over(*_PYTHON, measure="64.rps"), 15),
    Goal("grpc", "replica", "≥ 5 × Triton", _over("triton", measure="64.rps"), 5),
    Goal("grpc", "gateway", "≥ 3 × Triton", _over("triton", measure="64.rps"), 3),
    Goal("iris-onnx", "replica", "p50 ≤ 1.3 × bare loop", _over("bare", measure="1.p50"), 1.3, at_least=False),
    Goal("iris-onnx", "gateway", "p50 ≤ bare loop + 60 µs", _more_us("bare", "1.p50"), 60, at_least=False, unit="µs"),
    Goal("iris-onnx", "gateway", "p50 under Triton's", _over("triton", measure="1.p50"), 1.0, at_least=False),
    *_overload("replica"),
    *_overload("gateway"),
    Goal("idle", "replica", "PSS ≤ 85 MB", _value("pss"), 85, at_least=False, unit="MB"),
    Goal("idle", "gateway", "gateway's PSS ≤ 40 MB", _value("gateway.pss"), 40, at_least=False, unit="MB"),
    Goal("idle", "gateway", "everything's PSS ≤ 225 MB", _value("pss"), 225, at_least=False, unit="MB"),
    Goal("idle", "gateway", "≤ 0.5 % of a core", _value("core"), 0.5, at_least=False, unit="%"),
    Goal("cold-onnx", "replica", "≤ 0.6 s", _value("cold.s"), 0.6, at_least=False, unit="s"),
    Goal("cold-sklearn", "replica", "≤ 1.15 × import and load", _value("cold.loads"), 1.15, at_least=False),
)
