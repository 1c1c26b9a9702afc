"""Logs: one line per record, fields kept, nothing that moves a cursor."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from colonnade.observe import configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_keeps_the_fields() -> None:
    stream = io.StringIO()
    configure(stream)
    logging.getLogger("colonnade.x").info("hello %s", "you", extra={"pod": "a", "port": 1, "level": "x", "path": io})
    [line] = lines(stream)
    assert line["message"] == "hello you"
    assert line["level"] == "info"
    assert line["level_"] == "x"
    assert line["logger"] == "colonnade.x"
    assert (line["pod"], line["port"]) == ("a", 1)
    assert str(line["path"]).startswith("<module")
    assert str(line["time"]).endswith("Z")


def test_json_is_one_line_whatever_is_logged() -> None:
    stream = io.StringIO()
    configure(stream)
    logger = logging.getLogger("x")

    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    logger.warning("a\nb\r\x1b[2J", extra={"field": "c\nd", "mute": Mute(), "lone": "\ud800"})
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("failed")
    first, second = lines(stream)
    assert first["message"] == "a\nb\r\x1b[2J"
    assert "Mute" in str(first["mute"])
    assert "ValueError: inside" in str(second["exception"])


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    configure(stream)
    logging.getLogger("colonnade.x").warning("careful\n\x1b[2J", extra={"pod": "a\nb", "lone": "\ud800"})
    [line] = stream.getvalue().splitlines()
    assert "WARNING" in line
    assert "careful\\n\\x1b[2J" in line
    assert "pod=a\\nb" in line
    assert "lone=\\ud800" in line
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("x").exception("failed")
    assert "ValueError: inside" in stream.getvalue()


def test_level_and_repetition() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(first, "debug")
    configure(second, "warning")
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")
    assert first.getvalue() == ""
    assert [line["message"] for line in lines(second)] == ["loud"]
    with pytest.raises(ValueError):
        configure(first, "loudly")


def test_warnings_are_logged() -> None:
    stream = io.StringIO()
    configure(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    assert "old" in str(lines(stream)[0]["message"])
