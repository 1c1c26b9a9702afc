"""`python -m colonnade.server.seed ADAPTER DESCRIPTOR`: a process that has imported all that a replica of an adapter
needs, and becomes one in a fork.

Most of a cold start is imports. A fork of a process that has made them shares their memory and needs none of that time.
A fork has only the thread that called it, so a seed must never have another: it looks before it says that it is ready
and again before each fork, and refuses rather than to make a process that hangs on a lock which nobody holds any more.

The seed stays the parent of its replicas, and keeps the id of one that has ended until the platform asks how. It ends
when the platform closes the socket; its replicas go on, as those do that were started otherwise. What they share beside
memory is the seed of hashes, which the seed drew when it started; all other randomness is their own.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from colonnade.errors import Error
from colonnade.net import forking
from colonnade.net.forking import Fork, Forked, Ready, Reap, Reaped, Refused
from colonnade.observe import memory
from colonnade.runtimes.preload import fresh_random, preload
from colonnade.server import retitle

_PROGRAM = 3  # words of a replica's command line before its arguments: python -m colonnade.server


def main() -> None:
    """Serves forks until the socket is closed; in a fork, becomes what was asked for."""
    adapter, descriptor = sys.argv[1], int(sys.argv[2])
    begun = time.perf_counter()
    retitle.move_environment()
    os.environ.pop(forking.ROOM_VARIABLE, None)
    os.set_inheritable(descriptor, False)
    end = socket.socket(fileno=descriptor)
    trouble = _import(adapter)
    if not retitle.show((*sys.orig_argv[:_PROGRAM], adapter), os.environ):
        trouble = trouble or "/proc would show a fork as its seed, so nobody would find it"
    memory.share()
    forking.send(end, Ready(round(time.perf_counter() - begun, 3), trouble or _threads()))
    asked, output = _serve(end, os.getcwd())
    _become(asked, output)
    from colonnade.server.main import main as replica  # imported by now, in the seed

    replica(asked.argv[_PROGRAM:])


def _import(adapter: str) -> str:
    """Import everything; why a replica cannot come of it, or ""."""
    try:
        import colonnade.server.grpc_app  # what a program imports with its first call of gRPC
        import colonnade.server.main  # noqa: F401

        preload(adapter)
    except (Error, ImportError) as error:
        return str(error)
    return ""


def _threads() -> str:
    """Why this process must not fork, or ""."""
    count = len(os.listdir("/proc/self/task"))
    return "" if count == 1 else f"it has {count} threads; libraries that begin some on import cannot be forked"


def _serve(end: socket.socket, home: str) -> tuple[Fork, int]:
    """Answer questions. Returns in a fork, with what it is to become and its output; never in the seed."""
    while True:
        asked = forking.question(end)
        if asked is None:
            os._exit(0)
        question, descriptors = asked
        try:
            if isinstance(question, Reap):
                forking.send(end, Reaped(question.pid, _reap(question.pid)))
                continue
            made = _fork(question, descriptors, home)
            if made is None:
                end.close()
                return question, descriptors[0]
            forking.send(end, made)
            os.close(descriptors[0])
        except BrokenPipeError:  # the platform went while we worked
            os._exit(0)


def _reap(pid: int) -> int | None:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status)


def _fork(asked: Fork, descriptors: Sequence[int], home: str) -> Forked | Refused | None:
    """None in the fork. The parent waits until the fork leads its session and shows its marks, so that from its answer
    on it can be signalled and found like any process."""
    trouble = _threads() or ("" if len(descriptors) == 1 else "no output came with the request")
    if trouble:
        return Refused(trouble)
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(writer)
        os.close(reader)
        return Refused(f"it cannot fork: {error.strerror}")
    if pid:
        os.close(writer)
        told = os.read(reader, 1)
        os.close(reader)
        if told:
            return Forked(pid)
        return Refused(f"the fork ended with {_reap(pid)} before it was a process of its own")
    os.close(reader)
    try:
        os.setsid()
        if not retitle.show(asked.argv, asked.env):
            os._exit(1)
        os.chdir(asked.cwd)
        if sys.path and sys.path[0] == home:  # what `-m` puts there
            sys.path[0] = os.getcwd()
        os.write(writer, b".")
    except OSError:
        os._exit(1)
    os.close(writer)
    return None


def _become(asked: Fork, output: int) -> None:
    """Take over all that a new program would have got from its start."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(asked.env)
    time.tzset()
    sys.argv = [str(Path(__file__).with_name("__main__.py")), *asked.argv[_PROGRAM:]]
    sys.orig_argv = list(asked.argv)
    fresh_random()


if __name__ == "__main__":
    main()
