"""A unary gRPC call for a program that makes one now and then, such as the command line."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Iterable, Sequence

from colonnade import defaults
from colonnade.errors import Error, Unavailable
from colonnade.net.address import Address
from colonnade.net.head import Header
from colonnade.net.http2.upstream import Http2Upstream
from colonnade.wire import grpc_framing as framing
from colonnade.wire.grpc_framing import CONTENT_TYPE, Code


class CallFailed(Exception):
    """The call ended with a status that is not OK."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


async def call(
    address: Address,
    path: str,
    message: bytes,
    *,
    authority: str,
    metadata: Iterable[Header] = (),
    timeout: float,
    ssl: tls.SSLContext | None = None,
) -> bytes:
    """The answer's message.

    Args:
        address: where the server is.
        path: service and method, `/package.Service/Method`.
        message: the request's message.
        authority: what the server is asked as, like the Host of HTTP.
        metadata: further fields, names in lower case.
        timeout: seconds; it is also the call's deadline.
        ssl: settings for TLS.

    Raises:
        CallFailed: with the status of the answer, or UNAVAILABLE or DEADLINE_EXCEEDED if there was none.
    """
    if ssl is not None:
        ssl.set_alpn_protocols(["h2"])
    upstream = Http2Upstream(address, ssl=ssl)
    try:
        return await call_over(upstream, path, message, authority=authority, metadata=metadata, timeout=timeout)
    finally:
        upstream.close()


async def call_over(
    upstream: Http2Upstream,
    path: str,
    message: bytes,
    *,
    authority: str,
    metadata: Iterable[Header] = (),
    timeout: float,
) -> bytes:
    """The same over a connection that is kept for further calls."""
    answer = _Answer(asyncio.get_running_loop().create_future())
    fields = [
        (b"host", authority.encode()),
        (b"content-type", CONTENT_TYPE),
        (b"grpc-timeout", b"%dm" % max(1, min(int(timeout * 1000), 99_999_999))),
        *metadata,
    ]
    head = upstream.head(b"POST", path.encode(), fields, None)
    made = upstream.send(b"POST", head, b"", framing.frame(message), receiver=answer)
    try:
        async with asyncio.timeout(timeout):
            return await answer.result
    except TimeoutError:
        raise CallFailed(Code.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s") from None
    finally:
        made.cancel()


class _Answer:
    """Receiver of one answer."""

    def __init__(self, result: asyncio.Future[bytes]) -> None:
        self.result = result
        self._status = 0
        self._fields: list[Header] = []
        self._body = bytearray()

    def head(self, status: int, headers: list[Header]) -> None:
        self._status = status
        self._fields = headers

    def chunk(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > defaults.MAX_GRPC_MESSAGE_BYTES + 5:
            self._fail(Code.RESOURCE_EXHAUSTED, f"the answer exceeds {defaults.MAX_GRPC_MESSAGE_BYTES} bytes")

    def end(self, trailers: Sequence[Header] = ()) -> None:
        fields = dict([*self._fields, *trailers])
        status = fields.get(b"grpc-status")
        if status is None:
            self._fail(Code.UNKNOWN, f"HTTP status {self._status} without a status of gRPC; is this a gRPC server?")
            return
        code = framing.code_of(status)
        if code is not Code.OK:
            self._fail(code, framing.message_of(fields.get(b"grpc-message", b"")))
            return
        try:
            message, _ = framing.whole(bytes(self._body), defaults.MAX_GRPC_MESSAGE_BYTES)
        except Error as error:
            self._fail(Code.INTERNAL, error.message)
        else:
            if not self.result.done():
                self.result.set_result(message)

    def failed(self, error: Exception, sent: bool) -> None:
        self._fail(Code.UNAVAILABLE, error.message if isinstance(error, Unavailable) else str(error))

    def _fail(self, code: Code, details: str) -> None:
        if not self.result.done():
            self.result.set_exception(CallFailed(code, details))
