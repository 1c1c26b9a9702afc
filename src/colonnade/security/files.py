"""Files that hold secrets: written whole or not at all, and readable by their owner only from the first byte on."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def write(path: Path, content: bytes, mode: int = PRIVATE, *, durable: bool = True) -> None:
    """Replace `path` in one step; a crash leaves the old file or the new one. What is not `durable` may be lost with
    the machine, and waits for no disk.

    Raises:
        OSError: the folder cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def create(path: Path, content: bytes) -> bool:
    """Write a private file unless it exists; False if somebody was faster.

    Raises:
        OSError: the folder cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    write(beside, content)
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    return True
