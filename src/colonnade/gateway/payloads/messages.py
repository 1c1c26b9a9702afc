"""What a gateway and its writer say to each other over a socket: msgpack behind four bytes of length."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

import msgspec

from colonnade.gateway.payloads.settings import Logging, Origin

_LENGTH = 4


class Outcome(StrEnum):
    """What came of a request that was to be logged."""

    WRITTEN = "written"  # the sink has it; of files: it is on this machine's disk
    DROPPED = "dropped"  # too much was under way
    FAILED = "failed"  # the sink did not take it, however often it was tried
    LOST = "lost"  # the writer ended before it told


class Payload(msgspec.Struct, frozen=True, array_like=True):
    """A body as it was on the wire: its beginning, its length, and what its head says of it."""

    body: bytes
    size: int
    content_type: str
    encoding: str = ""


class Open(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A log begins, known by a number from here on."""

    log: int
    origin: Origin
    settings: Logging


class Close(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Nothing more comes for this log."""

    log: int


class Seen(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A request that is over.

    Attributes:
        log: that it is for.
        number: by which its outcome is told.
        identity: the `Ce-Id` that came with it; "" if none did.
        request_id: the `X-Request-ID`, of its caller or of the gateway.
        revision: that it was for.
        replica: that answered; "" if none has.
        path: that was asked for, without the query.
        at: seconds of Unix time at which it came.
        seconds: until it was over.
        status: HTTP status.
        code: name of the gRPC status; "" if it was no gRPC call.
        request: None if it is not to be logged.
        response: None if there is none, or it is not to be logged.
        headers: of the request, those that are to be logged.
    """

    log: int
    number: int
    identity: str
    request_id: str
    revision: str
    replica: str
    path: str
    at: float
    seconds: float
    status: int
    code: str
    request: Payload | None
    response: Payload | None
    headers: tuple[tuple[str, str], ...]


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What the writer says: what came of these."""

    outcome: Outcome
    numbers: list[int]


Message = Open | Close | Seen

_encoder = msgspec.msgpack.Encoder()
_messages = msgspec.msgpack.Decoder(Message)
_told = msgspec.msgpack.Decoder(Told)


class Stream(Protocol):
    """Where a writer reads from: `read` blocks until so many bytes are there, or no more come."""

    def read(self, size: int, /) -> bytes: ...


def frame(message: Message | Told) -> bytes:
    """A message with its length before it."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


def read(stream: Stream) -> Iterator[Message]:
    """The messages of a gateway, until it ends; one that is cut off is left out."""
    while len(length := stream.read(_LENGTH)) == _LENGTH:
        size = int.from_bytes(length, "big")
        body = stream.read(size)
        if len(body) < size:
            return
        yield _messages.decode(body)


class Tellings:
    """Takes apart what a writer says."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Told]:
        """What is complete now."""
        self._rest += data
        while len(self._rest) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._rest[:_LENGTH], "big")
            if len(self._rest) < end:
                return
            body, self._rest = self._rest[_LENGTH:end], self._rest[end:]
            yield _told.decode(body)
