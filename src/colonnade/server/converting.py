"""How a replica has its model converted: in a child process, which leaves its result on disk.

`compiling` says when, and imports this only for a model of a kind that is converted.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from colonnade.errors import LoadFailed
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.compile import job, store
from colonnade.runtimes.compile.job import Job
from colonnade.runtimes.compile.report import refusal
from colonnade.runtimes.compile.store import Compiled, Store

# Ends that the same conversion would meet again.
_FATAL = {signal.SIGXCPU, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}


def planned(runtime: str, file: Path, options: LoadOptions, versions: Mapping[str, str], folder: Path) -> Job:
    """The conversion of a model, whose result is kept in `folder`.

    Raises:
        LoadFailed: the folder cannot be made, or others may write to it.
    """
    key = store.key(runtime, file, options, versions)
    Store(folder).create()
    return Job(runtime, str(file), key, str(folder), dict(versions), options.trust_code)


def found(work: Job) -> Compiled | None:
    """What an earlier conversion has left, or None.

    Raises:
        LoadFailed: others may write to the folder, so that nothing in it can be trusted.
    """
    return Store(Path(work.store)).find(work.key)


async def beside(work: Job) -> Compiled:
    """Converts while this process goes on.

    Raises:
        LoadFailed: it ended without a result; with the reason.
    """
    child = await asyncio.create_subprocess_exec(
        *job.command(work), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, stderr = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    return _left_by(work, child.returncode or 0, stderr)


def at_once(work: Job, options: LoadOptions) -> Compiled:
    """Converts while the calling thread waits.

    Raises:
        LoadFailed: it ended without a result; with the reason.
    """
    ended = subprocess.run(
        job.command(work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(options.env),
        check=False,
    )
    return _left_by(work, ended.returncode, ended.stderr)


def _left_by(work: Job, code: int, stderr: bytes) -> Compiled:
    """What a child has left on disk. What would fail again is kept as such."""
    if code == 0:
        left = found(work)
        if left is None:
            raise LoadFailed(f"the converter has left nothing in {work.store}")
        return left
    last = stderr.decode(errors="replace").strip().rpartition("\n")[2][-300:]
    reason = f"the converter ended with code {code}: {last}"
    if -code in _FATAL:
        reason = f"the converter was ended by {signal.Signals(-code).name}; its limit is {job.CPU_SECONDS} s of CPU"
        Store(Path(work.store)).put(work.key, refusal(reason, work.versions), {})
    raise LoadFailed(reason)
