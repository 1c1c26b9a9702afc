"""A stage for graphs: services that answer when the test says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from colonnade.graph.conditions import TOO_MUCH, first
from colonnade.graph.execution import Cancel, Done, Hear, Run
from colonnade.graph.gjson import Budget, TooMuch
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
class Question:
    """A test of conditions that a graph has asked for."""

    body: bytes
    paths: Sequence[str]
    budget: Budget
    done: Hear
    cancelled: bool = False

    def answer(self) -> None:
        try:
            found = first(self.body, self.paths, self.budget)
        except TooMuch:
            self.done(TOO_MUCH)
        else:
            self.done(found)


@dataclass
class Stage:
    """Answers calls at once with `replies`, or keeps those of services that have none. Keeps tests of conditions."""

    replies: dict[str, Reply] = field(default_factory=dict)
    shares: list[int] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    tests: list[Question] = field(default_factory=list)

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

    def test(self, body: bytes, paths: Sequence[str], budget: Budget, done: Hear) -> Cancel:
        test = Question(body, paths, budget, done)
        self.tests.append(test)

        def cancel() -> None:
            test.cancelled = True

        return cancel

    @property
    def waiting(self) -> list[Asked | Question]:
        """All that nobody has given up; what has its answer already is among them."""
        return [one for one in (*self.asked, *self.tests) if not one.cancelled]

    def answer_tests(self) -> None:
        """Answer those that wait, and those that are asked for then."""
        while waiting := [test for test in self.tests if not test.cancelled]:
            waiting[0].cancelled = True
            waiting[0].answer()

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
