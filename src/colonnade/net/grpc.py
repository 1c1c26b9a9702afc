"""gRPC calls on exchanges: one message in, one out, or streams of them, and a status in the trailers.

gRPC is an application here like any other, so whatever transport has trailers carries it: HTTP/2, and the multiplexed
socket between gateway and replica. Which services there are is for the applications to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from colonnade.errors import Error, InvalidInput
from colonnade.net import deadlines
from colonnade.net.exchange import Exchange
from colonnade.net.head import Header
from colonnade.wire import failures, grpc_details
from colonnade.wire import grpc_framing as framing
from colonnade.wire.grpc_framing import ACCEPTED, CODINGS, CONTENT_TYPE, IDENTITY, OK, Code, UnknownCoding

if TYPE_CHECKING:
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")


@dataclass(frozen=True, slots=True)
class CallHead:
    """What the head of a call says.

    Attributes:
        timeout: seconds that the caller gives the call; None without a deadline.
        coding: how compressed messages of the request are packed.
        packs: how the answer's messages may be packed: as the request's, if the caller takes that; None: not at all.
    """

    timeout: float | None
    coding: bytes
    packs: bytes | None

    @classmethod
    def read(cls, headers: Mapping[bytes, bytes]) -> CallHead:
        """From the fields of a request.

        Raises:
            InvalidInput: the deadline is malformed.
        """
        coding = headers.get(b"grpc-encoding", IDENTITY)
        taken = headers.get(b"grpc-accept-encoding", b"").replace(b" ", b"").split(b",")
        return cls(
            deadlines.allowed(headers),
            coding,
            coding if coding in CODINGS and coding in taken else None,
        )


def collect(exchange: Exchange, head: CallHead, limit: int, done: Callable[[bytes], None]) -> None:
    """Call `done` once with the message of a unary call, unpacked. A body that is none, or that `done` refuses by an
    exception, is answered here.

    Args:
        exchange: the call.
        head: its head.
        limit: largest message in bytes.
        done: takes the message.
    """

    def collected(body: bytes) -> None:
        try:
            message, packed = framing.whole(body, limit)
            done(framing.inflated(message, head.coding, limit) if packed else message)
        except Exception as error:
            refuse(exchange, error)

    exchange.collect(collected)


def stream(
    exchange: Exchange,
    head: CallHead,
    limit: int,
    message: Callable[[bytes], None],
    end: Callable[[], None],
    failed: Callable[[Exception], object] | None = None,
) -> None:
    """Call `message` with each message of a streaming call as it comes, then `end`. What they raise is answered, or
    goes to `failed`, which answers it."""
    refused = partial(refuse, exchange) if failed is None else failed
    reader = framing.MessageReader(limit)

    def chunk(data: bytes) -> None:
        try:
            for one, packed in reader.feed(data):
                message(framing.inflated(one, head.coding, limit) if packed else one)
        except Exception as error:
            refused(error)

    def ended() -> None:
        try:
            if not reader.complete:
                raise InvalidInput("the stream ends inside a message")
            end()
        except Exception as error:
            refused(error)

    exchange.bounded = False  # its messages are
    exchange.stream(chunk, ended)


def parsed(kind: type[M], body: bytes) -> M:
    """The message of this kind in a call's bytes.

    Raises:
        InvalidInput: they are none.
    """
    from google.protobuf.message import DecodeError  # a gateway that only forwards never needs it

    try:
        return kind.FromString(body)
    except DecodeError:
        name = kind.DESCRIPTOR.full_name
        raise InvalidInput(f"The request's bytes are no {name}; send that protobuf message") from None


def reply(exchange: Exchange, message: bytes, metadata: Sequence[Header] = ()) -> None:
    """Answer a unary call; `metadata` goes out behind the message."""
    exchange.reply(200, framing.frame(message), CONTENT_TYPE, trailers=(*OK, *metadata) if metadata else OK)


def start(exchange: Exchange) -> None:
    """Begin the answer of a streaming call; messages follow with `write` and the end with `finish`."""
    if not exchange.started:
        exchange.start(200, content_type=CONTENT_TYPE)


def write(exchange: Exchange, message: bytes) -> None:
    """Send a message of a streaming answer."""
    exchange.write(framing.frame(message))


def finish(exchange: Exchange) -> None:
    """End a streaming answer well."""
    start(exchange)
    exchange.finish(OK)


def refuse(exchange: Exchange, failure: BaseException) -> Code:
    """End a call with a failure; one that no caller shall see is logged and gets an id."""
    error: Error = failures.opaque(failure)
    code, message = failures.grpc_status(error)
    headers = [(b"grpc-accept-encoding", ACCEPTED)] if isinstance(error, UnknownCoding) else ()
    end(exchange, code, message, headers, retry_after=error.retry_after, reason=error.reason)
    return Code(code)


def unimplemented(exchange: Exchange) -> None:
    """End a call of a method that there is not."""
    path = exchange.path.decode("latin-1")
    end(exchange, Code.UNIMPLEMENTED, f"No method {path}; ask server reflection for those that there are.")


def end(
    exchange: Exchange,
    code: int,
    message: str,
    headers: Sequence[Header] = (),
    *,
    retry_after: float | None = None,
    reason: str = "",
) -> None:
    """End a call with a status that is not OK; for `retry_after` and `reason` see `wire.grpc_details`."""
    trailers = framing.trailers(code, message) + grpc_details.trailers(code, message, retry_after, reason)
    if exchange.started:
        exchange.finish(trailers)
    else:
        exchange.reply(200, b"", CONTENT_TYPE, headers, trailers)
