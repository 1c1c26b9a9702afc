"""How an HTTP answer leaves a replica: the caller's `x-request-id` on every one, failures as `{"error": ...}`."""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.net import Exchange, Header
from colonnade.wire import failures

JSON = b"application/json"
_REQUEST_ID = b"x-request-id"


def reply(
    exchange: Exchange,
    status: int,
    body: bytes | Sequence[bytes],
    content_type: bytes = JSON,
    headers: Sequence[Header] = (),
) -> None:
    """Answers whole."""
    exchange.reply(status, body, content_type, identified(exchange, headers))


def identified(exchange: Exchange, headers: Sequence[Header]) -> Sequence[Header]:
    """The headers of an answer, with the request's id if it came with one."""
    identity = exchange.headers.get(_REQUEST_ID)
    return headers if identity is None else [*headers, (_REQUEST_ID, identity)]


def refuse(exchange: Exchange, failure: BaseException, headers: Sequence[Header] = ()) -> int:
    """Answers with a failure and returns its status; one that no client shall see is logged and gets an id."""
    error = failures.opaque(failure)
    status, body = failures.v2_body(error)
    reply(exchange, status, body, JSON, [*headers, *failures.retry_after(error.retry_after)])
    return status
