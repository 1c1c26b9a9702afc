"""What a failed gRPC call says to programs: a `google.rpc.Status` in the trailer `grpc-status-details-bin`. Pure.

It tells when to come again (`RetryInfo`) and why in a word that stays the same (`ErrorInfo`). The messages are three
and small, and are written by hand, so that a gateway that only forwards does without protobuf.

Sources: google/rpc/status.proto and google/rpc/error_details.proto; gRPC, "gRPC over HTTP2" (binary metadata); AIP-193
(how reasons are spelled).
"""

from __future__ import annotations

import re
from binascii import b2a_base64

from colonnade.errors import DeadlineExceeded, Overloaded, Unavailable
from colonnade.wire.grpc_framing import Code, Trailers

DOMAIN = "colonnade.dev"
"""Where the reasons are defined."""

_NAME = b"grpc-status-details-bin"
_REASONS = {
    Code.RESOURCE_EXHAUSTED: Overloaded.reason,
    Code.UNAVAILABLE: Unavailable.reason,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded.reason,
}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TEXT_BYTES = 1024  # of the message, which the trailer `grpc-message` has whole
_BYTES = 2  # protobuf's wire type of what has a length; 0 is that of numbers


def trailers(code: int, message: str, retry_after: float | None = None, reason: str = "") -> Trailers:
    """The further trailers of a call that failed: none but for a deadline that was missed, and where a retry helps.

    Args:
        code: its status.
        message: its message.
        retry_after: seconds after which a retry makes sense, or None.
        reason: of `errors.Error`; else the one that goes with the status.
    """
    if retry_after is None and code != Code.DEADLINE_EXCEEDED:
        return ()
    word = _WORDS.sub("_", reason or _REASONS.get(Code(code), Code(code).name)).upper()
    text = message.encode(errors="replace")[:_TEXT_BYTES].decode(errors="ignore").encode()
    status = _number(1, code) + _bytes(2, text)
    if retry_after is not None:
        status += _bytes(3, _any("google.rpc.RetryInfo", _bytes(1, _duration(retry_after))))
    status += _bytes(3, _any("google.rpc.ErrorInfo", _bytes(1, word.encode()) + _bytes(2, DOMAIN.encode())))
    return ((_NAME, b2a_base64(status, newline=False).rstrip(b"=")),)


def _any(kind: str, message: bytes) -> bytes:
    """A `google.protobuf.Any` with this message."""
    return _bytes(1, f"type.googleapis.com/{kind}".encode()) + _bytes(2, message)


def _duration(seconds: float) -> bytes:
    """A `google.protobuf.Duration`."""
    whole, nanos = divmod(round(max(0.0, seconds) * 1000) * 1_000_000, 1_000_000_000)
    return _number(1, whole) + _number(2, nanos)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""  # 0 is what an absent field means


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
