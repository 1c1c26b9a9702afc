"""What /proc shows of this process: its command line and its environment, written anew.

The kernel shows the memory where it put both when the program was started. A forked process shares its parent's, so it
would pass for its parent: to `ps`, and to a platform that finds its processes by marks in their environment. There is
no call to change that without privileges, but the memory is the process's own and can be written to. See proc(5),
/proc/PID/stat, fields 48 to 51.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_FIRST = 45  # of the fields after the name of the program: arg_start


class _Room(NamedTuple):
    """Addresses of the command line and of the environment."""

    argv: int
    argv_end: int
    env: int
    env_end: int


def move_environment() -> None:
    """Have the C library keep the environment elsewhere, so that nothing points to where it is written over.

    To be called early: before libraries look up variables and keep what they found.
    """
    variables = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)


def show(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Write both: of what is too long, as many words and variables as fit, the first ones first.

    Returns whether /proc shows them now; it does not where the kernel does not say what memory it shows.
    """
    room = _room()
    if room is None:
        return False
    _fill(room.argv, room.argv_end, map(os.fsencode, argv))
    written = _fill(room.env, room.env_end, (os.fsencode(f"{name}={value}") for name, value in env.items()))
    return Path("/proc/self/environ").read_bytes().startswith(written)


def _room() -> _Room | None:
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[_FIRST : _FIRST + 4]
    found = _Room(*map(int, fields))
    return found if 0 < found.argv < found.argv_end and 0 < found.env < found.env_end else None


def _fill(start: int, end: int, words: Iterable[bytes]) -> bytes:
    """Write as many words as there is room for, each with its end; returns what was written."""
    size = end - start
    content = b""
    for word in words:
        if len(content) + len(word) + 1 > size:
            break
        content += word + b"\0"
    ctypes.memmove(start, content.ljust(size, b"\0"), size)
    return content
