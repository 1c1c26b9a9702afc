"""Open Inference Protocol V2 over HTTP: inference. The other routes of V2 are in `routes`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from colonnade.errors import InvalidInput
from colonnade.model.results import whole
from colonnade.server import parameters
from colonnade.server.call import Body, HttpCall
from colonnade.server.execution import Ticket
from colonnade.server.identity import new_id
from colonnade.wire import v2 as codec
from colonnade.wire.tensors import InferRequest, InferResponse

HEADER_LENGTH = b"inference-header-content-length"
_BINARY = b"application/octet-stream"
_JSON = b"application/json"
_DIGITS = 18  # of a length: what no body has, and what Python would refuse to read at some point


class V2Call(HttpCall):
    """`POST /v2/models/{m}[/versions/{v}]/infer`."""

    protocol = "v2"

    __slots__ = ("_request",)

    _request: InferRequest

    @property
    def aligned(self) -> int:
        """The end of the JSON, where the first tensor begins."""
        length = self.exchange.headers.get(HEADER_LENGTH, b"")
        return int(length) if _is_length(length) else 0

    def start(self, body: Body) -> Ticket | None:
        headers = self.exchange.headers
        length = headers.get(HEADER_LENGTH)
        version = self.execution.version
        request = codec.decode(body, None if length is None else _length(length), self.hosted.name, version)
        if request.id is None:
            identity = headers.get(b"x-request-id")
            request.id = new_id() if identity is None else identity.decode("latin-1")
        self._request = request
        if request.parameters is not None:
            self.deadline = parameters.deadline(request, self.deadline)
        return self.run(self.execution.infer, request, len(body))

    def write(self, result: Any) -> None:
        header_length, chunks = codec.encode(whole(result, self.hosted.name), self._request)
        if header_length is None:
            self.answer(chunks, _JSON)
        else:
            self.answer(chunks, _BINARY, [(HEADER_LENGTH, b"%d" % header_length)])


class V2StreamCall(V2Call):
    """`POST /v2/models/{m}[/versions/{v}]/infer_stream`: each part of the answer as a server-sent event with a V2
    answer as JSON. An answer that is no stream is the only one. Source of the path: MLServer."""

    __slots__ = ()

    def write(self, result: Any) -> None:
        self.stream(result if isinstance(result, AsyncIterator) else _alone(result), self._event)

    def _event(self, part: InferResponse) -> bytes:
        header_length, chunks = codec.encode(part, self._request)
        if header_length is not None:
            raise InvalidInput("An event carries no binary tensors; ask for the outputs as JSON")
        return b"data: %b\n\n" % b"".join(chunks)


async def _alone(result: InferResponse) -> AsyncGenerator[InferResponse, None]:
    yield result


def _is_length(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _DIGITS


def _length(text: bytes) -> int:
    if not _is_length(text):
        raise InvalidInput(
            "header Inference-Header-Content-Length is not a whole number; send the JSON's length in bytes"
        )
    return int(text)
