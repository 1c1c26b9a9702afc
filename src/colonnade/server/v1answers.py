"""What a V1 answer is on the wire, by what the model returned: JSON, bytes, text, or a stream of parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from colonnade.wire import v1 as codec
from colonnade.wire import v2
from colonnade.wire.tensors import InferRequest, InferResponse

_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
_BYTES = b"application/octet-stream"


def encode(result: Any) -> tuple[bytes, bytes]:
    """Body and content type of a whole answer."""
    if isinstance(result, InferResponse):
        return bytes(v2.encode(result, InferRequest(result.model_name, []))[1][0]), _JSON
    if isinstance(result, bytes):
        return result, _BYTES
    if isinstance(result, str):
        return result.encode(errors="replace"), _TEXT
    return codec.encode(result), _JSON


def encode_part(part: Any) -> bytes:
    """One part of a stream: bytes and text as they are, anything else as a server-sent event with JSON data."""
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    if isinstance(part, str):
        return part.encode(errors="replace")
    return b"data: %b\n\n" % codec.encode(part)


def parts_of(result: Any) -> AsyncIterator[Any] | None:
    """The parts of a streamed answer, which a model returns alone and its binding puts under a V1 key."""
    if isinstance(result, dict) and len(result) == 1:
        result = next(iter(result.values()))
    return result if isinstance(result, AsyncIterator) else None
