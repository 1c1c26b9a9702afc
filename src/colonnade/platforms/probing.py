"""Is the replica ready, is it alive? Its own protocol is asked, not its port.

An open port says that a process listens; KServe's TCP probe therefore calls a server ready that still loads its model.
 What to ask is in the `Probe`, what an answer means and when to ask again are pure functions
here, and `ask` is the thin shell that carries one question.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
from collections.abc import Mapping
from typing import NamedTuple

from colonnade.net import Address, Upstream
from colonnade.platforms.base import Probe, ProbeKind

FIRST_DELAY = 0.01
FIRST_COMMAND_DELAY = 0.25  # a command costs a process
MAX_DELAY = 1.0
READY_DELAY = 3.0
RECHECK_DELAY = 0.5
_GROWTH = 1.005
_UNKNOWN_PATH = frozenset({404, 405, 501})


class Answer(enum.Enum):
    """What one question found."""

    READY = "ready"
    REFUSED = "refused"  # the replica says no, or nobody listens: it takes no requests now
    SILENT = "silent"  # no answer in time: busy, or stuck


class Observation(NamedTuple):
    answer: Answer
    reason: str = ""


class Health(NamedTuple):
    """What is believed of a replica, between questions.

    `asked` counts the questions since the last change of `ready`, `failures` those in a row that failed while ready.
    """

    ready: bool = False
    asked: int = 0
    failures: int = 0
    reason: str = "no probe has been answered yet"


def judge(health: Health, seen: Observation, threshold: int) -> Health:
    """The new belief. A refusal counts at once, silence only after `threshold` questions in a row."""
    if seen.answer is Answer.READY:
        return Health(True, health.asked + 1 if health.ready else 1, 0, "")
    if health.ready and seen.answer is Answer.SILENT and health.failures + 1 < threshold:
        return Health(True, health.asked + 1, health.failures + 1, seen.reason)
    return Health(False, 1 if health.ready else health.asked + 1, 0, seen.reason)


def pause(health: Health, kind: ProbeKind = "http") -> float:
    """Seconds until the next question: calm when ready, else quick, and slower while it takes long.

    A start is seen at most `FIRST_DELAY` and a 200th of its own time late; a question costs some 0.05 ms.
    """
    if health.ready:
        return RECHECK_DELAY if health.failures else READY_DELAY
    first = FIRST_COMMAND_DELAY if kind == "exec" else FIRST_DELAY
    return float(min(first * _GROWTH ** min(health.asked, 1000), MAX_DELAY))


def verdict(path: str, status: int) -> Observation | None:
    """What an HTTP status means; None passes the question to the next path."""
    if 200 <= status < 400:
        return Observation(Answer.READY)
    if status in _UNKNOWN_PATH:
        return None
    return Observation(Answer.REFUSED, f"GET {path} answered {status}")


async def ask(probe: Probe, upstream: Upstream | None, env: Mapping[str, str]) -> Observation:
    """Put one question to a replica. Never raises for what the replica does."""
    if probe.kind == "http":
        assert upstream is not None
        return await _ask_http(probe, upstream)
    if probe.kind == "tcp":
        return await _ask_tcp(probe)
    if probe.kind == "exec":
        return await _ask_command(probe, env)
    return Observation(Answer.READY)


async def _ask_http(probe: Probe, upstream: Upstream) -> Observation:
    path = "/"
    try:
        async with asyncio.timeout(probe.timeout):
            for path in probe.paths:
                response = await upstream.fetch("GET", path, timeout=probe.timeout)
                seen = verdict(path, response.status)
                if seen is not None:
                    return seen
    except TimeoutError:
        return Observation(Answer.SILENT, f"GET {path} was not answered in {probe.timeout:g} s")
    except Exception as error:  # the replica may speak anything, or nothing
        if getattr(error, "status", None) == 504:
            return Observation(Answer.SILENT, f"GET {path} was not answered in {probe.timeout:g} s")
        return Observation(Answer.REFUSED, f"GET {path} failed: {error}")
    return Observation(Answer.REFUSED, f"none of {', '.join(probe.paths)} exists on the replica")


async def _ask_tcp(probe: Probe) -> Observation:
    address = Address.parse(probe.address)
    try:
        async with asyncio.timeout(probe.timeout):
            if address.path is not None:
                _, writer = await asyncio.open_unix_connection(address.path)
            else:
                _, writer = await asyncio.open_connection(address.host, address.port)
            writer.close()
    except TimeoutError:
        return Observation(Answer.SILENT, f"no connection in {probe.timeout:g} s")
    except OSError as error:
        return Observation(Answer.REFUSED, f"nothing listens on {probe.address}: {error.strerror}")
    return Observation(Answer.READY)


async def _ask_command(probe: Probe, env: Mapping[str, str]) -> Observation:
    shown = " ".join(probe.command)
    try:
        process = await asyncio.create_subprocess_exec(
            *probe.command,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return Observation(Answer.REFUSED, f"the probe's command {shown} cannot be started: {error.strerror}")
    try:
        async with asyncio.timeout(probe.timeout):
            code = await process.wait()
    except TimeoutError:
        return Observation(Answer.SILENT, f"the probe's command {shown} did not end in {probe.timeout:g} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Observation(Answer.READY) if code == 0 else Observation(Answer.REFUSED, f"{shown} exited with {code}")
