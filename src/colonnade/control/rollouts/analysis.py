"""Automatic analysis: is the new revision as good as the stable one? Pure.

Both are measured over the same minutes of the same service, so that a slow disk or a burst of hard requests counts
against both. Two questions are asked, and the worse answer wins:

* Errors: the share of the new revision's answers that are server errors or failed transports, against the stable one's.
  A difference counts only if it is larger than what is allowed and larger than chance makes it (Fisher's exact test),
  since few requests say little.
* Latency: a quantile of the new revision's answers, against the same quantile of the stable one's. A few milliseconds
  more are never bad, whatever their ratio. A request that is still under way counts as an answer that took as long as
  it has waited until now, so a revision that hangs is slow before its callers give up.
* Hanging: the share of the new revision's requests that are under way for much too long, against the stable one's. As
  with errors, few are enough if chance does not explain them.

The settings stand in the annotation `colonnade.dev/analysis` of the service: `auto`, or JSON with some of the fields of
`Settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from math import exp, lgamma
from typing import Annotated, Literal, NamedTuple

import msgspec

from colonnade import defaults
from colonnade.errors import InvalidInput
from colonnade.observe.latency import bucket, quantile

UNLIKELY = 0.001  # chance makes a difference with this probability: less, and it is taken for real
FEW = 3  # errors of a new revision that are needed at least: it is looked at each second, and chance has many of them
MANY = 9  # errors of a new revision that are taken for real where there is nothing to compare with
SLACK = 0.005  # seconds: a latency that is worse by less is not worse
HANGING = 10.0  # seconds that a request is under way at least before it hangs: a new revision's first ones take longer

Percent = Annotated[int, msgspec.Meta(ge=1, le=99)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How a new revision is stepped up.

    Attributes:
        steps: percents of the traffic, rising; after the last one it gets all.
        interval: seconds that each step lasts at least.
        min_requests: answers of the new revision that a verdict needs; with fewer the step is held.
        max_error_increase: by how much its share of errors may exceed the stable one's, 0 to 1.
        max_latency_ratio: by which factor its latency may exceed the stable one's.
        quantile: of the latency that is compared, 0 to 1.
    """

    steps: Annotated[tuple[Percent, ...], msgspec.Meta(min_length=1)] = (10, 30, 60)
    interval: Positive = 60.0
    min_requests: Annotated[int, msgspec.Meta(ge=1)] = 50
    max_error_increase: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    max_latency_ratio: Annotated[float, msgspec.Meta(ge=1)] = 1.5
    quantile: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95


def settings(annotations: Mapping[str, str]) -> Settings | None:
    """What the annotations of a service ask for; None without an analysis.

    Raises:
        InvalidInput: the annotation cannot be read; names the field.
    """
    text = annotations.get(defaults.ANALYSIS)
    if text is None or text == "false":
        return None
    if text in ("auto", "true"):
        return Settings()
    try:
        found = msgspec.json.decode(text, type=Settings)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"annotation {defaults.ANALYSIS} must be `auto` or JSON with fields of the analysis, not {text!r}: {error}"
        ) from None
    if list(found.steps) != sorted(set(found.steps)):
        raise InvalidInput(f"annotation {defaults.ANALYSIS}: steps must rise, not {list(found.steps)}")
    return found


class Counts(NamedTuple):
    """What a revision answered in some time, and what it has not answered for long.

    Attributes:
        answers: how many there were, failures included.
        errors: server errors and failed transports among them.
        latencies: how many of the answers fell into each bucket of `observe.latency`.
        late: requests under way now, in the same buckets by how long they have been; young ones are left out.
    """

    answers: int = 0
    errors: int = 0
    latencies: tuple[int, ...] = ()
    late: tuple[int, ...] = ()

    def since(self, before: Counts) -> Counts:
        """What came after an earlier count; all that is under way now."""
        earlier = before.latencies or (0,) * len(self.latencies)
        return Counts(
            self.answers - before.answers,
            self.errors - before.errors,
            tuple(now - then for now, then in zip(self.latencies, earlier, strict=True)),
            self.late,
        )

    @property
    def known(self) -> int:
        """Requests of which something is known: answers, and what is under way for long."""
        return self.answers + sum(self.late)

    @property
    def waits(self) -> tuple[int, ...]:
        """How long callers waited, in the buckets of `latencies`: for answers, and for what is under way until now."""
        return added(self.latencies, self.late)

    @property
    def error_rate(self) -> float:
        """Errors of all answers."""
        return self.errors / self.answers if self.answers else 0.0


class Judgement(NamedTuple):
    """`step`: it is as good; `hold`: too early to say; `rollback`: it is worse. `numbers` says why."""

    verdict: Literal["step", "hold", "rollback"]
    numbers: str


def added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """The sum of two counts in the same buckets, of which either may be empty."""
    return tuple(first + second for first, second in zip_longest(one, other, fillvalue=0))


def judge(stable: Counts, fresh: Counts, wanted: Settings) -> Judgement:
    """Compare what two revisions answered in the same time."""
    slow, slower = (quantile(counts.waits, wanted.quantile) for counts in (stable, fresh))
    limit = max(slow * wanted.max_latency_ratio, slow + SLACK)
    numbers = (
        f"errors {fresh.error_rate:.2%} of {fresh.answers} against {stable.error_rate:.2%} of {stable.answers}, "
        f"p{wanted.quantile * 100:g} {slower * 1000:.3g} ms against {slow * 1000:.3g} ms"
    )
    if worse_errors(stable, fresh, wanted.max_error_increase):
        return Judgement("rollback", f"too many errors: {numbers}")
    hangs = max(limit, HANGING)
    stuck = hanging(fresh, hangs)
    if stable.answers and worse(hanging(stable, hangs), stable.known, stuck, fresh.known, wanted.max_error_increase):
        text = f"{stuck} of {fresh.known} requests hang, without an answer for more than {hangs:.3g} s"
        return Judgement("rollback", f"{text}: {numbers}")
    if fresh.known < wanted.min_requests:
        return Judgement("hold", f"{fresh.known} of {wanted.min_requests} answers that a verdict needs: {numbers}")
    if stable.known >= wanted.min_requests and slower > limit:
        return Judgement("rollback", f"too slow: {numbers}")
    return Judgement("step", numbers)


def hanging(counts: Counts, limit: float) -> int:
    """Requests that have been under way for longer than so many seconds."""
    return sum(counts.late[bucket(limit) + 1 :])


def worse_errors(stable: Counts, fresh: Counts, allowed: float) -> bool:
    """Whether the new revision fails more often by more than is allowed, and not by chance."""
    return worse(stable.errors, stable.answers, fresh.errors, fresh.answers, allowed)


def worse(bad: int, whole: int, fresh_bad: int, fresh_whole: int, allowed: float) -> bool:
    """Whether a larger share is bad by more than is allowed, and not by chance."""
    if fresh_bad < FEW or fresh_bad / fresh_whole <= (bad / whole if whole else 0.0) + allowed:
        return False
    if not whole:
        return fresh_bad >= MANY
    return chance(fresh_bad, fresh_whole, fresh_bad + bad, fresh_whole + whole) < UNLIKELY


def chance(errors: int, answers: int, all_errors: int, all_answers: int) -> float:
    """How likely a random choice of `answers` of all answers has at least so many of all errors.

    The tail of the hypergeometric distribution: Fisher's exact test, one-sided.
    """
    whole = _log_choose(all_answers, answers)
    tail = (
        exp(_log_choose(all_errors, found) + _log_choose(all_answers - all_errors, answers - found) - whole)
        for found in range(errors, min(answers, all_errors) + 1)
        if answers - found <= all_answers - all_errors
    )
    return sum(tail)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
