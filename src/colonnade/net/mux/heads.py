"""Heads on the multiplexed socket: sent once, then named by a number.

The heads of requests to one service differ in little but their `X-Request-ID`, which travels apart. So each side
numbers the heads that it has sent; frames come in order, so a number means what was last sent under it. Memory is
bounded: the 1025th head takes the first one's number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from colonnade.net.head import OWN_HEADERS, Header, field_lines
from colonnade.net.head_parse import Refusal, RequestHead, join_repeated, split_target
from colonnade.net.mux.frames import Malformed, pack_texts, unpack_texts

ID = b"x-request-id"
_HEADS = 1024

T = TypeVar("T")


class AnswerHead:
    """What the head of an answer says; answers with the same head share it.

    Attributes:
        status: HTTP status code.
        fields: in order, names in lower case, without framing.
        trailers: fields behind the body, if the answer came whole.
        memo: what the receiver has made of this head; None at first.
    """

    __slots__ = ("fields", "memo", "status", "trailers")

    def __init__(self, status: int, fields: list[Header], trailers: Sequence[Header] = ()) -> None:
        self.status = status
        self.fields = fields
        self.trailers = trailers
        self.memo: Any = None


class SentHeads:
    """Numbers of the heads that this side has sent."""

    __slots__ = ("_keys", "_next", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}
        self._keys: list[Hashable] = []
        self._next = 0

    def add(self, key: Hashable) -> int:
        """The number for a new head; whoever had it is forgotten."""
        number = self._next
        if len(self._keys) < _HEADS:
            self._keys.append(key)
        else:
            del self.numbers[self._keys[number]]
            self._keys[number] = key
        self._next = (number + 1) % _HEADS
        self.numbers[key] = number
        return number


class SeenHeads(Generic[T]):
    """Heads that the peer has sent, by their numbers."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: list[T] = []

    def __getitem__(self, number: int) -> T:
        try:
            return self._heads[number]
        except IndexError:
            raise Malformed(f"head {number} was never sent") from None

    def set(self, number: int, head: T) -> None:
        """Take a head from the peer."""
        if number == len(self._heads) < _HEADS:
            self._heads.append(head)
        elif number < len(self._heads):
            self._heads[number] = head
        else:
            raise Malformed(f"head {number} comes out of turn")


def pack_request(method: bytes, target: bytes, fields: Iterable[Header]) -> bytes:
    """The head of a request, without framing fields and without its id.

    Raises:
        ValueError: a field holds CR, LF or NUL.
    """
    texts = [method, target]
    for name, value in _checked(fields):
        texts += (name, value)
    return pack_texts(texts)


def unpack_request(data: bytes, max_count: int) -> RequestHead:
    """The head of a request with at most `max_count` fields.

    Raises:
        Malformed: it is none, or none that HTTP allows.
    """
    texts = unpack_texts(data)
    if len(texts) < 2 or len(texts) % 2 or len(texts) > 2 * (max_count + 1) or not texts[0] or not texts[1]:
        raise Malformed("a request head needs a method, a target and pairs of name and value")
    method, target = texts[0], texts[1]
    fields = _pairs(texts[2:])
    try:
        path, query = split_target(method, target)
        headers = dict(fields)
        if len(headers) != len(fields):
            headers = join_repeated(fields)
    except Refusal as refusal:
        raise Malformed(refusal.message) from None
    return RequestHead(method, target, path, query, headers, fields, True, False, None, False)


def pack_answer(status: int, content_type: bytes, fields: Iterable[Header], trailers: Sequence[Header]) -> bytes:
    """The head of an answer, without framing fields and without its id; an empty `content_type` sends none.

    Raises:
        ValueError: a field holds CR, LF or NUL.
    """
    sent = _checked(fields)
    if content_type:
        sent = [*_checked([(b"content-type", content_type)]), *sent]
    texts = [b"%d" % status, b"%d" % len(sent)]
    for name, value in [*sent, *_checked(trailers)]:
        texts += (name, value)
    return pack_texts(texts)


def unpack_answer(data: bytes) -> AnswerHead:
    """The head of an answer.

    Raises:
        Malformed: it is none.
    """
    texts = unpack_texts(data)
    if len(texts) < 2 or len(texts) % 2 or not (texts[0].isdigit() and len(texts[0]) == 3 and texts[1].isdigit()):
        raise Malformed("an answer's head needs a status, a count and pairs of name and value")
    fields = _pairs(texts[2:])
    count = int(texts[1])
    if count > len(fields) or texts[0] < b"200":
        raise Malformed("an answer's head has an impossible status or count")
    return AnswerHead(int(texts[0]), fields[:count], fields[count:])


def pack_fields(fields: Iterable[Header]) -> bytes:
    """Trailer fields.

    Raises:
        ValueError: a field holds CR, LF or NUL.
    """
    return pack_texts([text for header in _checked(fields) for text in header])


def unpack_fields(data: bytes) -> list[Header]:
    """What `pack_fields` made.

    Raises:
        Malformed: it is something else.
    """
    texts = unpack_texts(data)
    if len(texts) % 2:
        raise Malformed("a field has no value")
    return _pairs(texts)


def _checked(fields: Iterable[Header]) -> list[Header]:
    """Fields that may be sent, in lower case: those of the transport itself are left out."""
    sent = [(name.lower(), value) for name, value in fields]
    field_lines(sent)
    return [header for header in sent if header[0] not in OWN_HEADERS]


def _pairs(texts: list[bytes]) -> list[Header]:
    return list(zip(texts[::2], texts[1::2], strict=True))
