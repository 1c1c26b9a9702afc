"""Notes what went by of one route. Is an `Observer`.

What it does for a request is done on the loop that forwards others, so it is little: it takes the fields that are asked
for, and hands them on. It never notes a query string, since those carry keys.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from colonnade.gateway.forwarding import Header
from colonnade.gateway.metrics import RevisionMetrics
from colonnade.gateway.observed import Kept, Observation
from colonnade.gateway.payloads.messages import Payload, Seen
from colonnade.gateway.payloads.settings import Logging, Origin
from colonnade.net import Exchange

SECRET = frozenset(
    name.encode()
    for name in (
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "api-key",
        "x-auth-token",
        "x-amz-security-token",
        "x-goog-api-key",
        "x-csrf-token",
    )
)
"""Fields that are never logged, whoever asks for them."""

_PLAIN = frozenset({b"GET", b"HEAD", b"OPTIONS"})  # they bring no payload; probes are such
_OK = range(200, 300)


class Receiver(Protocol):
    """Where a tap puts what it has noted. See `Channel`."""

    def number(self) -> int: ...

    def offer(self, tap: Tap, seen: Seen, size: int, counts: RevisionMetrics) -> None: ...


class Tap:
    """The payload log of one route, as the gateway knows it.

    Attributes:
        log: its number in the channel.
        under_way: requests that the writer has not told the outcome of.
        bytes: of those.
    """

    def __init__(self, log: int, origin: Origin, settings: Logging, receiver: Receiver) -> None:
        self.log = log
        self.origin = origin
        self.settings = settings
        self.under_way = 0
        self.bytes = 0
        self._receiver = receiver
        self._requests = settings.mode != "response"
        self._responses = settings.mode != "request"
        self._headers = [(name.lower().encode("latin-1", "replace"), _canonical(name)) for name in settings.headers]

    def wants(self, exchange: Exchange) -> bool:
        if exchange.method in _PLAIN:
            return False
        sample = self.settings.sample
        return sample >= 1.0 or random.random() < sample  # noqa: S311

    def saw(self, observation: Observation) -> None:
        exchange = observation.exchange
        fields = exchange.headers
        request = response = None
        if self._requests:
            request = self._payload(observation.request, fields.get(b"content-type"), fields.get(b"content-encoding"))
        if self._responses and observation.head is not None and self._logs(observation):
            kind, coding = _described(observation.head)
            response = self._payload(observation.answer, kind, coding)
        if request is None and response is None:
            return
        seen = Seen(
            self.log,
            self._receiver.number(),
            _text(fields.get(b"ce-id", b"")),
            _text(observation.request_id),
            observation.revision.name,
            observation.replica,
            _text(exchange.path),
            observation.began,
            observation.seconds,
            observation.status,
            observation.code,
            request,
            response,
            tuple(
                (shown, _text(fields[name])) for name, shown in self._headers if name in fields and name not in SECRET
            ),
        )
        size = sum(len(payload.body) for payload in (request, response) if payload is not None)
        self._receiver.offer(self, seen, size, observation.revision.counts)

    def _logs(self, observation: Observation) -> bool:
        """Whether this response is one that is logged: KServe logs none but of success."""
        if self.settings.failures:
            return True
        return observation.ended and observation.status in _OK and observation.code in ("", "OK")

    def _payload(self, kept: Kept, content_type: bytes | None, coding: bytes | None) -> Payload:
        body = kept.data
        if len(body) > self.settings.limit:
            body = body[: self.settings.limit]
        return Payload(body, kept.size, _text(content_type or b""), _text(coding or b""))


def _described(fields: Sequence[Header]) -> tuple[bytes | None, bytes | None]:
    """Content type and content encoding of an answer."""
    kind = coding = None
    for name, value in fields:
        if name == b"content-type":
            kind = value
        elif name == b"content-encoding":
            coding = value
    return kind, coding


def _text(value: bytes) -> str:
    """What a head says, which is mostly UTF-8, and is taken as Latin-1 where it is not."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _canonical(name: str) -> str:
    """A header's name as Go spells it, which is how KServe logs it."""
    return "-".join(part.capitalize() for part in name.strip().split("-"))
