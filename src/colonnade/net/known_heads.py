"""The memory of heads that come again.

The messages of a keep-alive connection mostly differ in their bodies only: their heads are the same bytes. To parse
those again costs more than to route a request and frame its answer, so both ends remember what the parser made of a
head and look the next one up. This is no second parser: only bytes that the parser has read before are known, in full;
all that is new, partial or unusual goes to the parser.
"""

from __future__ import annotations

from typing import Generic, Protocol, Self, TypeVar

from colonnade.net.head import Header

_END = b"\r\n\r\n"
_ID = b"x-request-id"  # the one customary field that differs in each message and says nothing about its framing
_ID_LINE = b"\r\n%b: " % _ID
_MAX_HEADS = 1024
_MAX_BYTES = 2048  # of one remembered head


class _Parsed(Protocol):
    """What a parser made of a head."""

    fields: list[Header]
    raw: bytes

    def without_last(self) -> Self:
        """The same head without its last field."""


T = TypeVar("T", bound=_Parsed)


class KnownHeads(Generic[T]):
    """Heads that were read before, shared by the connections of one server or to one peer.

    A head whose last line is an `X-Request-ID` is known if the lines before that are, so that ids, which differ in each
    message, do not make all heads new. Memory is bounded: 1024 heads of at most 2 KiB, then it starts afresh.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, T] = {}

    def find(self, data: bytes) -> tuple[T, Header | None, int] | None:
        """The head at the start of `data`, if it is known and complete: without the id's field, that field, and where
        the body begins."""
        end = data.find(_END)
        if end < 0:
            return None
        line = data.rfind(_ID_LINE, 0, end)
        if line < 0:
            head = self._heads.get(data[:end])
            return None if head is None else (head, None, end + 4)
        head = self._heads.get(data[:line])
        identity = data[line + len(_ID_LINE) : end]
        if head is None or not identity.replace(b"-", b"").isalnum():  # all but one plain word is the parser's to judge
            return None
        return head, (_ID, identity), end + 4

    def learn(self, data: bytes, head: T) -> None:
        """Remember that the parser read `head` at the start of `data`.

        Only what is beyond doubt is kept: the bytes up to the first empty line must hold as many lines as the head, so
        that they are the head and nothing else.
        """
        end = data.find(_END)
        breaks = len(head.fields)  # between the first line and the fields
        if not 0 < end <= _MAX_BYTES or data[0] <= 0x20:
            return
        if data.count(b"\n", 0, end) != breaks or data.count(b"\r", 0, end) != breaks:
            return
        if breaks and head.fields[-1][0] == _ID:
            end = data.rfind(_ID_LINE, 0, end)
            if end < 0:  # spelled otherwise
                return
            head = head.without_last()
        else:
            head.raw = data[: end + 4]
        if any(name == _ID for name, _ in head.fields):
            return
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[data[:end]] = head
