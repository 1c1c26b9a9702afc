"""JSON text to Python values, with faults told by line and column.

The C decoder says "byte 6" or nothing; people, and KServe's clients, know `line 1 column 7 (char 6)`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from colonnade.errors import InvalidInput

Body = bytes | bytearray | memoryview

_decode = msgspec.json.Decoder().decode
_POSITION = re.compile(r" \(byte (\d+)\)$")


def parse(body: Body, prefix: str) -> Any:
    """The JSON value in `body`.

    Raises:
        InvalidInput: `{prefix}{what is wrong}: line L column C (char N)`.
    """
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(prefix + fault(body, error)) from None


def fault(body: Body, error: Exception) -> str:
    """What is wrong with JSON `body`, from the decoder's error."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "the JSON holds text that is not valid UTF-8"
    text = str(error)
    if text == "Input data was truncated":
        return "unexpected end of data" + _place(body, len(body))
    position = _POSITION.search(text)
    if position is None:
        return text.split(" - at ")[0].lower()
    what = text[: position.start()].removeprefix("JSON is malformed: ")
    return what + _place(body, int(position.group(1)))


def _place(body: Body, offset: int) -> str:
    before = bytes(body[:offset])
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
    return f": line {line} column {column} (char {len(before.decode(errors='replace'))})"
