"""One conversion as a process of its own: what it is told, how it is started, and what it must not use up.

Converters bring some 300 MB and take seconds, and a bug in one may end its process. So the replica starts a child with
the lowest priority, limits on memory and CPU time, and reads nothing but its exit code; the result is in the store.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

import msgspec

from colonnade.errors import Error
from colonnade.runtimes import catalogue
from colonnade.runtimes.base import LoadOptions, threads
from colonnade.runtimes.compile import golden
from colonnade.runtimes.compile.report import refusal
from colonnade.runtimes.compile.store import Store

CPU_SECONDS = 300
MEMORY_BYTES = 16 << 30  # of address space, of which the libraries alone take several
_NICE = 19
_PR_SET_PDEATHSIG = 1


class Job(msgspec.Struct, frozen=True):
    """What to convert.

    Attributes:
        runtime: the adapter that loads the model.
        file: the model's file.
        key: under which the result is kept.
        store: where.
        versions: of what takes part, for the report.
        trust_code: as `LoadOptions`.
    """

    runtime: str
    file: str
    key: str
    store: str
    versions: dict[str, str]
    trust_code: bool = False


def command(job: Job) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "colonnade.runtimes.compile", msgspec.json.encode(job).decode()]


def run(job: Job) -> None:
    """Converts, checks, and keeps what came of it, unless another process was faster."""
    from colonnade.runtimes.compile.verification import examine  # the replica, which only starts jobs, needs none of it

    store = Store(Path(job.store))
    store.create()
    with store.alone(job.key):
        if store.find(job.key) is not None:
            return
        began = time.monotonic()
        graphs: dict[str, bytes] = {}
        try:
            env = dict(os.environ)
            path = Path(job.file)
            model = catalogue.runtime(job.runtime).load("model", path, LoadOptions(job.trust_code, env))
            report, graphs = examine(model, golden.examples(path), threads(env))
        except Error as error:
            report = refusal(error.message)
        seconds = round(time.monotonic() - began, 1)
        store.put(job.key, msgspec.structs.replace(report, versions=job.versions, seconds=seconds), graphs)


def give_way() -> None:
    """Makes this process the last to get a CPU, and the first to end: by its limits, and with the replica."""
    os.nice(_NICE)
    for kind, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, given = resource.getrlimit(kind)  # nobody may raise that
        limit = most if given == resource.RLIM_INFINITY else min(most, given)
        resource.setrlimit(kind, (limit, limit))
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
