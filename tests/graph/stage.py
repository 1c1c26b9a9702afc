"""A stage for graphs: services that answer when the test says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from colonnade.graph.execution import Cancel, Done, Run
from colonnade.graph.outcome import Answer, Failure, Outcome
from colonnade.graph.plan import Node, Plan, Step

Reply = tuple[int, Any] | str
"""Status and body (bytes as they are, all else as JSON), or why there is no answer."""


@dataclass
class Asked:
    """A call that a graph has made."""

    service: str
    where: str
    body: bytes
    last: bool
    done: Done
    cancelled: bool = False

    def answer(self, reply: Reply) -> None:
        self.done(outcome(reply))


@dataclass
class Stage:
    """Answers calls at once with `replies`, or keeps those of services that have none."""

    replies: dict[str, Reply] = field(default_factory=dict)
    shares: list[int] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def call(self, step: Step, where: str, body: bytes, last: bool, done: Done) -> Cancel:
        name = step.service or step.url
        asked = Asked(name, where, body, last, done)
        self.asked.append(asked)
        if name in self.replies:
            asked.answer(self.replies[name])

        def cancel() -> None:
            asked.cancelled = True

        return cancel

    def share(self, node: str, weights: tuple[int, ...]) -> int:
        return self.shares.pop(0)

    @property
    def names(self) -> list[str]:
        return [asked.service for asked in self.asked]

    def of(self, service: str) -> Asked:
        return next(asked for asked in self.asked if asked.service == service)


def outcome(reply: Reply) -> Outcome:
    if isinstance(reply, str):
        return Failure(reply)
    status, body = reply
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def step(service: str = "", **changes: Any) -> Step:
    return Step(service=service, **changes)


def sequence(*steps: Step) -> Node:
    return Node("Sequence", steps)


def switch(*steps: Step) -> Node:
    return Node("Switch", steps)


def ensemble(*steps: Step) -> Node:
    return Node("Ensemble", steps)


def splitter(*steps: Step) -> Node:
    return Node("Splitter", steps)


def graph(root: Node, **nodes: Node) -> Plan:
    return Plan({"root": root, **nodes})


def run(plan: Plan, stage: Stage, body: Any = None) -> tuple[Run, Callable[[], Outcome]]:
    """Begin a run; the second value gives its outcome, which must have come exactly once."""
    outcomes: list[Outcome] = []
    started = Run(plan, stage, outcomes.append)
    started.start(body if isinstance(body, bytes) else json.dumps(body).encode())

    def result() -> Outcome:
        (only,) = outcomes
        return only

    return started, result


def told(result: Outcome) -> tuple[int, Any]:
    """Status and body as the graph's caller gets them; the body decoded where it is JSON."""
    body = result.body() if isinstance(result, Failure) else result.body
    try:
        return result.status, json.loads(body)
    except ValueError:
        return result.status, body
