"""One request on its way through a graph: who is asked next, with what, and which answer that makes.

Callbacks, no tasks: a node asks its steps through a `Caller`, hears of each outcome once and tells its own. The results
are KServe's, status by status (its router's rules for Sequence, Switch, Ensemble and Splitter); what differs is that an
answer is passed on as it comes where nothing in the graph needs it any more, and that whoever gives up on a request
cancels every step of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from colonnade import defaults
from colonnade.graph import conditions
from colonnade.graph.conditions import Choice
from colonnade.graph.documents import instances_of, is_object, merged
from colonnade.graph.gjson import Budget
from colonnade.graph.outcome import Answer, Failure, Outcome
from colonnade.graph.plan import ROOT, Node, Plan, Step, label

NO_MATCH = "None of the routes matched with the switch condition"
INVALID_RESPONSE = "invalid response"

Done = Callable[[Outcome], None]
Cancel = Callable[[], None]
Hear = Callable[[Choice | Failure], None]


class Caller(Protocol):
    """Whoever can ask a service."""

    def call(self, step: Step, where: str, body: bytes, last: bool, done: Done) -> Cancel:
        """Ask what a step names (a service or a URL), and call `done` once, at once or later.

        Args:
            step: the step.
            where: how messages name it.
            body: what it is asked with.
            last: its answer is the graph's, whatever it says: it may be passed on as it comes.
            done: takes the outcome.

        Returns:
            What gives up on the call, if it is still under way; `done` is not called any more.
        """

    def share(self, node: str, weights: tuple[int, ...]) -> int:
        """Which step of a Splitter is next, as an index of the weights."""

    def test(self, body: bytes, paths: Sequence[str], budget: Budget, done: Hear) -> Cancel:
        """Find out which condition holds first for a body, where nobody else waits for it (`conditions.first`).

        Args:
            body: of any length.
            paths: the conditions.
            budget: what all such tests of the request may cost.
            done: called once, later.

        Returns:
            What gives up on it; `done` is not called any more.
        """


class Run:
    """A request on its way. `start` begins it, `done` hears of its outcome once, `cancel` ends it unheard."""

    def __init__(self, plan: Plan, caller: Caller, done: Done) -> None:
        self._plan = plan
        self._caller = caller
        self._done = done
        self._cancel: Cancel | None = None
        self._over = False
        self._quick = Budget(defaults.GRAPH_QUICK_VALUES)
        self._budget = Budget(defaults.GRAPH_CONDITION_VALUES)

    def start(self, body: bytes) -> None:
        """Begin at the root."""
        cancel = self._node(ROOT, body, True, self._ended)
        if not self._over:
            self._cancel = cancel

    def cancel(self) -> None:
        """Give up on all steps that are under way."""
        self._over = True
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()

    def _ended(self, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._cancel = None
            self._done(outcome)

    def _node(self, name: str, body: bytes, last: bool, done: Done) -> Cancel:
        node = self._plan.nodes[name]
        match node.kind:
            case "Sequence":
                return _Sequence(self, name, node, body, last, done).begin()
            case "Ensemble":
                return _Ensemble(self, name, node, body, done).begin()
            case "Switch":
                return _Switch(self, name, node, body, last, done).begin()
            case "Splitter":
                chosen = self._caller.share(name, tuple(step.weight for step in node.steps))
        return self.step(name, chosen, node.steps[chosen], body, last, done)

    def step(self, node: str, index: int, step: Step, body: bytes, last: bool, done: Done) -> Cancel:
        """Ask what a step names. A failure inside of another node is an error of this one, whatever it was there."""
        if step.maps_predictions:
            body = instances_of(body)
        if not step.node:
            return self._caller.call(step, label(node, index, step), body, last, done)

        def inner(outcome: Outcome) -> None:
            done(outcome._replace(status=500) if isinstance(outcome, Failure) else outcome)

        return self._node(step.node, body, last, inner)

    def tested(self, body: bytes, paths: Sequence[str]) -> Choice | None:
        """Which of these conditions holds first; None if that is to be found out by `test`."""
        return conditions.quickly(body, paths, self._quick)

    def test(self, body: bytes, paths: Sequence[str], done: Hear) -> Cancel:
        """Find out which of these conditions holds first; `done` hears of it later."""
        return self._caller.test(body, paths, self._budget, done)


def _nothing() -> None:
    """Cancels what is over."""


class _Switch:
    """The first step of a Switch whose condition holds."""

    def __init__(self, run: Run, name: str, node: Node, body: bytes, last: bool, done: Done) -> None:
        self._run = run
        self._name = name
        self._steps = node.steps
        self._body = body
        self._last = last
        self._done = done
        self._cancel: Cancel = _nothing

    def begin(self) -> Cancel:
        """Choose the step and ask it."""
        paths = tuple(step.condition for step in self._steps)
        tested = self._run.tested(self._body, paths)
        if tested is None:
            self._cancel = self._run.test(self._body, paths, self._go_on)
        else:
            self._go_on(tested)
        return self.cancel

    def cancel(self) -> None:
        """Give up on the test, or on the step."""
        self._cancel()

    def _go_on(self, tested: Choice | Failure) -> None:
        self._cancel = _nothing
        if isinstance(tested, Failure):
            self._done(tested)
        elif tested.which is None:
            self._done(Failure(NO_MATCH, 404))
        else:
            chosen = tested.which
            self._cancel = self._run.step(self._name, chosen, self._steps[chosen], self._body, self._last, self._done)


class _Sequence:
    """The steps of a Sequence, one after the other."""

    def __init__(self, run: Run, name: str, node: Node, body: bytes, last: bool, done: Done) -> None:
        self._run = run
        self._name = name
        self._steps = node.steps
        self._input = body
        self._last = last
        self._done = done
        self._cancel: Cancel | None = None
        self._over = False
        self._asking = False
        self._heard: Outcome | None = None

    def begin(self) -> Cancel:
        """Ask the first step."""
        self._go_on(0, None)
        return self.cancel

    def cancel(self) -> None:
        """Give up on the step that is under way."""
        self._over = True
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()

    def _go_on(self, index: int, before: Answer | None, tested: Choice | Failure | None = None) -> None:
        """Ask the step of this index and those after it: in a loop while answers come at once. `tested`: what came of
        the condition of the first of them, if that is known already."""
        while not self._over:
            step = self._steps[index]
            if step.condition:
                body, paths = b"" if before is None else before.body, (step.condition,)
                if tested is None:
                    tested = self._run.tested(body, paths)
                if tested is None:
                    self._cancel = self._run.test(body, paths, partial(self._hear_test, index, before))
                    return
                if not self._may(tested, before):
                    return
                tested = None
            body = before.body if before is not None and step.takes_response else self._input
            self._heard, self._asking = None, True
            final = self._last and index == len(self._steps) - 1
            cancel = self._run.step(self._name, index, step, body, final, partial(self._hear, index))
            self._asking = False
            heard = self._heard
            if heard is None:
                self._cancel = cancel
                return
            following = self._judged(index, heard)
            if following is None:
                return
            index, before = index + 1, following

    def _hear(self, index: int, outcome: Outcome) -> None:
        if self._asking:
            self._heard = outcome
            return
        self._cancel = None
        if self._over:
            return
        before = self._judged(index, outcome)
        if before is not None:
            self._go_on(index + 1, before)

    def _hear_test(self, index: int, before: Answer | None, tested: Choice | Failure) -> None:
        self._cancel = None
        self._go_on(index, before, tested)

    def _may(self, tested: Choice | Failure, before: Answer | None) -> bool:
        """Whether the step may be asked whose condition was tested; if not, the node has ended."""
        if isinstance(tested, Failure):
            self._end(tested)
        elif before is None or not tested.valid:
            self._end(Failure(INVALID_RESPONSE))
        elif tested.which is None:
            self._end(before._replace(status=200))
        else:
            return True
        return False

    def _judged(self, index: int, outcome: Outcome) -> Answer | None:
        """The answer with which the next step begins; None if the node ends with this outcome."""
        at_end = index == len(self._steps) - 1
        if isinstance(outcome, Failure) or at_end or (self._steps[index].hard and not outcome.successful):
            self._end(outcome)
            return None
        return outcome

    def _end(self, outcome: Outcome) -> None:
        self._over = True
        self._done(outcome)


class _Ensemble:
    """The steps of an Ensemble, all at once. The first step in the list's order that decides the outcome does so, and
    the others are cancelled then: which of them were quick does not matter."""

    def __init__(self, run: Run, name: str, node: Node, body: bytes, done: Done) -> None:
        self._run = run
        self._name = name
        self._steps = node.steps
        self._body = body
        self._done = done
        self._outcomes: list[Outcome | None] = [None] * len(node.steps)
        self._cancels: list[Cancel | None] = [None] * len(node.steps)
        self._next = 0  # the first step in order that has not answered
        self._over = False

    def begin(self) -> Cancel:
        """Ask all steps."""
        for index, step in enumerate(self._steps):
            if self._over:
                break
            cancel = self._run.step(self._name, index, step, self._body, False, partial(self._hear, index))
            if self._over:
                break
            if self._outcomes[index] is None:
                self._cancels[index] = cancel
        return self.cancel

    def cancel(self) -> None:
        """Give up on all steps that are under way."""
        self._over = True
        cancels, self._cancels = self._cancels, []
        for cancel in cancels:
            if cancel is not None:
                cancel()

    def _hear(self, index: int, outcome: Outcome) -> None:
        if self._over:
            return
        if isinstance(outcome, Answer) and not is_object(outcome.body):
            where = label(self._name, index, self._steps[index])
            outcome = Failure(f"the answer of step {where} is not a JSON object, which an Ensemble needs")
        self._outcomes[index] = outcome
        self._cancels[index] = None
        while self._next < len(self._steps):
            first = self._outcomes[self._next]
            if first is None:
                return
            if isinstance(first, Failure) or (self._steps[self._next].hard and not first.successful):
                self._end(first)
                return
            self._next += 1
        self._end(Answer(200, merged(self._bodies())))

    def _bodies(self) -> list[tuple[str, bytes]]:
        answers = [outcome for outcome in self._outcomes if isinstance(outcome, Answer)]
        return [(self._steps[at].name or str(at), answer.body) for at, answer in enumerate(answers)]

    def _end(self, outcome: Outcome) -> None:
        self.cancel()
        self._done(outcome)
