"""Coroutines as applications, for the management plane: one owned task per request.

A task costs a few microseconds and buys plain `await`; the data path uses exchanges directly. The task ends with its
client: when the client leaves, it is cancelled, and so is a stream that it returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from colonnade.errors import Error
from colonnade.net.background import Background
from colonnade.net.exchange import App, Exchange
from colonnade.net.head import Header
from colonnade.wire import failures


@dataclass(slots=True)
class Request:
    """A request with its whole body. `path` and `query` are not percent-decoded."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes
    exchange: Exchange


@dataclass(slots=True)
class Response:
    """An answer: `body` whole, or `stream` in parts (`body` is then sent first). A stream is closed in any case."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Sequence[Header] = ()
    stream: AsyncIterator[bytes] | None = None


Handler = Callable[[Request], Awaitable[Response]]


def asynchronous(handler: Handler) -> App:
    """An application that runs `handler` as a task per request.

    An `errors.Error` is answered with its status and `{"error": message}`; any other exception with 500 and an opaque
    id. An exception after the answer has started cuts the connection.
    """
    tasks = Background()

    def application(exchange: Exchange) -> None:
        def begin(body: bytes) -> None:
            task = tasks.start(_serve(handler, exchange, body))
            exchange.on_disconnect(task.cancel)

        exchange.collect(begin)

    return application


async def _serve(handler: Handler, exchange: Exchange, body: bytes) -> None:
    request = Request(
        method=exchange.method.decode("ascii"),
        path=exchange.path.decode("latin-1"),
        query=exchange.query.decode("latin-1"),
        headers=exchange.headers,
        body=body,
        exchange=exchange,
    )
    try:
        response = await handler(request)
        content_type = response.content_type.encode("latin-1")
        if response.stream is None:
            exchange.reply(response.status, response.body, content_type, response.headers)
        else:
            await _stream(exchange, response, response.stream, content_type)
    except Exception as error:
        fail(exchange, error)


def fail(exchange: Exchange, error: Exception) -> None:
    """Answer with an error: its status, `{"error": message}`, and Retry-After where it has one. One that is not of the
    family is logged and answered with an opaque id. If the answer has started, the connection is cut."""
    status, body = failures.v1_body(error)
    if exchange.started:
        exchange.abort()
        return
    exchange.reply(status, body, headers=failures.retry_after(error.retry_after if isinstance(error, Error) else None))


async def _stream(exchange: Exchange, response: Response, stream: AsyncIterator[bytes], content_type: bytes) -> None:
    try:
        exchange.start(response.status, response.headers, content_type)
        exchange.write(response.body)
        async for part in stream:
            exchange.write(part)
            await exchange.drain()
            if exchange.closed:
                return
        exchange.finish()
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
