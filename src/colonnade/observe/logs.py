"""Structured logs on the standard library's `logging`: JSON lines for machines, readable lines on a terminal.

Fields given as `extra={...}` are kept in both. Text that a client sent can be part of a message, so control characters
never reach a terminal as they are: a log line is one line, and cannot move the cursor.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TextIO

import msgspec

# What a LogRecord has by itself: everything else came by `extra`.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_COLOURS = {
    "DEBUG": "\x1b[2m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}
_RESET = "\x1b[0m"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, the extra fields, exception."""

    _encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in extra_fields(record).items():
            line[f"{key}_" if key in line else key] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return self._encoder.encode(line).decode()
        except Exception:  # a field that cannot be written must not lose the line
            return self._encoder.encode({key: _text(value) for key, value in line.items()}).decode()


class ReadableFormatter(logging.Formatter):
    """`12:01:02.345 INFO    colonnade.net  message  key=value`, in colour."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and the lines of its traceback."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        colour = _COLOURS.get(record.levelname, "")
        fields = "".join(f"  {key}={_visible(_text(value))}" for key, value in extra_fields(record).items())
        line = f"{time} {colour}{record.levelname:<7}{_RESET} {record.name}  {_visible(record.getMessage())}{fields}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line = "\n".join([line, *(_visible(part) for part in trace)])
        return line


def extra_fields(record: logging.LogRecord) -> dict[str, object]:
    """What came by `extra={...}`."""
    return {key: value for key, value in vars(record).items() if key not in _BUILT_IN}


def configure(stream: TextIO, level: int | str = logging.INFO) -> None:
    """Send all logs of the process, and Python's warnings, to `stream`: readable if it is a terminal, else JSON.

    Replaces what an earlier call set up.

    Raises:
        ValueError: `level` is not a level's name or number.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ReadableFormatter() if stream.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    root.handlers[:] = [handler]
    logging.captureWarnings(True)


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def _text(value: object) -> str:
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"<{type(value).__name__} without text>"
