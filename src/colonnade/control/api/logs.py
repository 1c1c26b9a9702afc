"""The output of a replica as `kubectl logs` asks for it.

Files are read in parts, so that neither a large log nor a slow client costs memory, and off the event loop.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from colonnade.errors import InvalidInput
from colonnade.platforms.base import LogPaths

SERVING_CONTAINER = "kserve-container"

_BLOCK = 64 << 10
_POLL = 0.2  # seconds between looks at a file that is followed
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_TIME_WITHIN = 256  # bytes from the start of a line in which its time is looked for


class LogSource(Protocol):
    """Where replicas' output lies; a `platforms.base.Platform` is one."""

    def log_paths(self, key: str) -> LogPaths:
        """The files of the replica `namespace/name`; either may not exist."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is asked for; sizes in bytes, None for no limit."""

    follow: bool = False
    previous: bool = False
    tail: int | None = None
    limit: int | None = None
    since: datetime | None = None


def options(parameters: Mapping[str, str], now: datetime) -> LogOptions:
    """The options of a request. Raises InvalidInput on a value that cannot be, or on what is not kept."""
    if flag(parameters, "timestamps"):
        raise InvalidInput("timestamps: the time of each line is not kept; leave --timestamps out")
    since = None
    if text := parameters.get("sinceSeconds"):
        since = now - timedelta(seconds=min(_whole("sinceSeconds", text, 1), 10**9))
    elif text := parameters.get("sinceTime"):
        try:
            since = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidInput(f"sinceTime: {text[:40]!r} is not an RFC 3339 time") from None
        since = since if since.tzinfo else since.replace(tzinfo=UTC)
    tail, limit = parameters.get("tailLines"), parameters.get("limitBytes")
    return LogOptions(
        follow=flag(parameters, "follow"),
        previous=flag(parameters, "previous"),
        tail=_whole("tailLines", tail, 0) if tail else None,
        limit=_whole("limitBytes", limit, 1) if limit else None,
        since=since,
    )


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """A boolean parameter, as Go's `strconv.ParseBool` reads it. Raises InvalidInput."""
    text = parameters.get(name, "")
    if text in ("", "0", "f", "F", "false", "False", "FALSE"):
        return False
    if text in ("1", "t", "T", "true", "True", "TRUE"):
        return True
    raise InvalidInput(f"{name}: {text[:40]!r} is neither true nor false")


def _whole(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least):
        raise InvalidInput(f"{name}: {text[:40]!r} must be an integer of {least} or more")
    return int(text)


async def stream(path: Path, asked: LogOptions, alive: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log in parts. When followed it goes on, also over a rotation of the file, until `alive` says no."""
    left = asked.limit
    file = await asyncio.to_thread(_opened, path, asked)
    replaced = False
    try:
        while left != 0:
            ending = not asked.follow or not alive()  # asked before the read, so that last words are not lost
            part = await asyncio.to_thread(file.read, _BLOCK if left is None else min(_BLOCK, left)) if file else b""
            if part:
                left = None if left is None else left - len(part)
                yield part
            elif file is None or replaced:
                renewed = await asyncio.to_thread(_opened, path, LogOptions())
                if renewed is None:
                    if ending:
                        return
                    await asyncio.sleep(_POLL)
                    continue
                if file:
                    file.close()
                file, replaced = renewed, False
            elif await asyncio.to_thread(_replaced, file, path):
                replaced = True  # what was written between the last read and the rotation is read first
            elif ending:
                return
            else:
                await asyncio.sleep(_POLL)
    finally:
        if file:
            file.close()


def _replaced(file: BinaryIO, path: Path) -> bool:
    try:
        now, then = path.stat(), os.fstat(file.fileno())
    except OSError:
        return False
    if now.st_size < file.tell() and now.st_ino == then.st_ino:  # truncated in place
        file.seek(0)
        return False
    return now.st_ino != then.st_ino


def _opened(path: Path, asked: LogOptions) -> BinaryIO | None:
    """The file, positioned at the first byte that is asked for; None if there is no file yet."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    try:
        start = 0 if asked.since is None else _since(file, asked.since)
        if asked.tail is not None:
            start = max(start, _tail(file, asked.tail))
        file.seek(start)
    except BaseException:
        file.close()
        raise
    return file


def _tail(file: BinaryIO, lines: int) -> int:
    """Where the last lines begin; reads backwards."""
    end = position = file.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    wanted = lines + 1  # the newline before the first line, with the one that ends the last line
    while position:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        if position + size == end and not block.endswith(b"\n"):
            wanted = lines
        found = len(block)
        while (found := block.rfind(b"\n", 0, found)) >= 0:
            wanted -= 1
            if wanted == 0:
                return position + found + 1
    return 0


def _since(file: BinaryIO, since: datetime) -> int:
    """Where the first line of that time or later begins.

    A line's time is the first RFC 3339 time near its start, which covers structured logs; lines without one belong to
    the line before. If no line has a time, the time of the last write decides for all.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    timed = False
    position = 0
    while line := file.readline(_BLOCK):
        if (moment := _time_of(line)) is not None:
            timed = True
            if moment >= since:
                return position
        position += len(line)
    written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    return end if timed or written < since else 0


def _time_of(line: bytes) -> datetime | None:
    match = _TIME.search(line, 0, _TIME_WITHIN)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match[0].decode())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
