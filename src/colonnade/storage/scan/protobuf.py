"""Walks serialized protocol buffers over a mapping of the file: fields by number, nothing copied, nothing decoded.

A model may be gigabytes of which a scan needs some strings. So a message is a range of bytes, and its fields are read
in order; what is nested is passed over by its length unless it is asked for. Source of the wire format: "Encoding" in
the documentation of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from mmap import mmap
from typing import NamedTuple

from colonnade.storage.scan.report import Damaged

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_LONGEST_TEXT = 1 << 16


class Message(NamedTuple):
    """The bytes from `begin` to `end` of a file."""

    content: mmap
    begin: int
    end: int

    def text(self) -> str:
        """The range as text, cut off where no honest name goes on."""
        return bytes(self.content[self.begin : min(self.end, self.begin + _LONGEST_TEXT)]).decode("utf-8", "replace")


class Field(NamedTuple):
    """One field: `value` of a number, `message` of what has a length."""

    number: int
    wire: int
    value: int
    message: Message


def whole(content: mmap) -> Message:
    """All of a file."""
    return Message(content, 0, len(content))


def fields(message: Message) -> Iterator[Field]:
    """The fields in order.

    Raises:
        Damaged: the bytes are no message, or end inside a field.
    """
    content, place, end = message
    while place < end:
        key, place = _varint(content, place, end)
        number, wire = key >> 3, key & 7
        value, begin = 0, place
        if wire == VARINT:
            value, place = _varint(content, place, end)
        elif wire == LENGTH:
            length, begin = _varint(content, place, end)
            place = begin + length
        elif wire in (FIXED64, FIXED32):
            place += 8 if wire == FIXED64 else 4
        else:
            raise Damaged(f"it is no protocol buffer: wire type {wire} at byte {place}")
        if place > end or not number:
            raise Damaged(f"it ends inside a field at byte {begin}")
        yield Field(number, wire, value, Message(content, begin, place))


def below(message: Message, path: Sequence[int]) -> Iterator[Message]:
    """All messages that are reached by the field numbers of `path`, one level after the other."""
    if not path:
        yield message
        return
    for field in fields(message):
        if field.number == path[0] and field.wire == LENGTH:
            yield from below(field.message, path[1:])


def _varint(content: mmap, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= end or shift > 63:
            raise Damaged(f"it ends inside a number at byte {place}")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
