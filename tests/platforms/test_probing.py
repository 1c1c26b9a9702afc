"""What an answer to a probe means, and when to ask again: tables."""

from __future__ import annotations

import pytest

from colonnade.platforms.base import Probe
from colonnade.platforms.probing import (
    FIRST_COMMAND_DELAY,
    MAX_DELAY,
    READY_DELAY,
    RECHECK_DELAY,
    Answer,
    Health,
    Observation,
    ask,
    judge,
    pause,
    verdict,
)

READY, REFUSED, SILENT = (Observation(answer, answer.value) for answer in Answer)


@pytest.mark.parametrize(
    ("answers", "ready"),
    [
        ([REFUSED, SILENT, REFUSED], False),
        ([REFUSED, READY], True),
        ([READY, REFUSED], False),
        ([READY, SILENT], True),
        ([READY, SILENT, SILENT], True),
        ([READY, SILENT, SILENT, SILENT], False),
        ([READY, SILENT, SILENT, READY, SILENT, SILENT], True),
    ],
)
def test_a_refusal_counts_at_once_and_silence_after_three(answers: list[Observation], ready: bool) -> None:
    health = Health()
    for seen in answers:
        health = judge(health, seen, 3)
    assert health.ready is ready


def test_questions_come_quickly_at_first_and_then_slow_down() -> None:
    health, pauses = Health(), []
    for _ in range(2000):
        pauses.append(pause(health))
        health = judge(health, REFUSED, 3)
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_DELAY
    elapsed = 0.0
    for seconds in pauses:
        assert seconds <= 0.01 + 0.005 * elapsed + 1e-9, "a start of two seconds is seen 0.02 s late at most"
        elapsed += seconds
    assert pause(Health(), "exec") == FIRST_COMMAND_DELAY
    health = judge(health, READY, 3)
    assert pause(health) == READY_DELAY
    assert pause(judge(health, SILENT, 3)) == RECHECK_DELAY


@pytest.mark.parametrize(
    ("status", "answer"),
    [(200, Answer.READY), (204, Answer.READY), (503, Answer.REFUSED), (500, Answer.REFUSED), (401, Answer.REFUSED)],
)
def test_a_status_is_an_answer(status: int, answer: Answer) -> None:
    found = verdict("/x", status)
    assert found is not None
    assert found.answer is answer


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_unknown_path_passes_the_question_on(status: int) -> None:
    assert verdict("/x", status) is None


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("true",), Answer.READY),
        (("false",), Answer.REFUSED),
        (("sleep", "60"), Answer.SILENT),
        (("nope",), Answer.REFUSED),
    ],
)
async def test_a_command_is_asked(command: tuple[str, ...], answer: Answer) -> None:
    found = await ask(Probe("exec", command=command, timeout=0.3), None, {"PATH": "/usr/bin:/bin"})
    assert found.answer is answer


async def test_a_port_that_nobody_listens_on_refuses() -> None:
    found = await ask(Probe("tcp", "unix:/nowhere/at-all.sock"), None, {})
    assert found.answer is Answer.REFUSED
