"""One control plane per state directory: the kernel's lock on a file, with the holder's pid in it for people."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from colonnade import errors


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it when this process ends, however it does.

    Raises:
        errors.Conflict: another process holds it; names its pid and the state directory.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise errors.Conflict(
                f"A control plane runs already on the state directory {path.parent}: process {holder}. "
                f"Stop it (kill {holder}), or use another --state-dir."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
