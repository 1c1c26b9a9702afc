"""Bodies of requests joined into one, and its answer parted again. Pure.

V1's rows are never looked into: what is text in a request is the same text in the joined one. V2's are tensors, joined
along their first axis as the built-in server does it (`model.rows`); they may come as JSON or as binary data.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, Self

import msgspec

from colonnade.errors import Error
from colonnade.model import rows
from colonnade.wire import v2, v2client
from colonnade.wire.tensors import InferRequest, InferResponse

HEADER_LENGTH = b"inference-header-content-length"

_V1 = re.compile(rb"/v1/models/[^/]+:predict")
_V2 = re.compile(rb"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")
_JSON = b"application/json"
_BINARY = b"application/octet-stream"
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()


class Answer(NamedTuple):
    """What one request gets of a joined one's answer; `header_length` is set if it holds binary data."""

    body: bytes
    header_length: int | None = None

    @property
    def content_type(self) -> bytes:
        """That of the body."""
        return _JSON if self.header_length is None else _BINARY


class Rows(ABC):
    """The body of a request that can be joined with others of the same `kind`."""

    kind: Hashable
    count: int

    @classmethod
    @abstractmethod
    def join(cls, requests: Sequence[Self]) -> bytes:
        """The body of one request with the rows of all, in order."""

    @classmethod
    @abstractmethod
    def part(cls, requests: Sequence[Self], body: bytes, header_length: int | None) -> list[Answer] | None:
        """The answer for each; None if it does not have one row for each row that was sent."""


class V1Rows(Rows):
    """`{"instances": [...]}`. Whatever else is in the object must be the same in all that are joined."""

    def __init__(self, instances: Sequence[msgspec.Raw], others: Mapping[str, msgspec.Raw]) -> None:
        self.kind = tuple(sorted((name, bytes(value)) for name, value in others.items()))
        self.count = len(instances)
        self._instances = instances
        self._others = others

    @classmethod
    def join(cls, requests: Sequence[Self]) -> bytes:
        every = [instance for request in requests for instance in request._instances]
        return _encoder.encode({**requests[0]._others, "instances": every})

    @classmethod
    def part(cls, requests: Sequence[Self], body: bytes, header_length: int | None) -> list[Answer] | None:
        try:
            answer = _object.decode(body)
            predictions = _list.decode(answer["predictions"])
        except (msgspec.MsgspecError, KeyError):
            return None
        ends = list(accumulate((request.count for request in requests), initial=0))
        if len(predictions) != ends[-1]:
            return None
        return [
            Answer(_encoder.encode({**answer, "predictions": predictions[begin:end]})) for begin, end in pairwise(ends)
        ]


class V2Rows(Rows):
    """A V2 inference request whose tensors have their rows along the first axis."""

    def __init__(self, request: InferRequest, kind: rows.Kind) -> None:
        self.kind, self.count = kind
        self._request = request

    @classmethod
    def join(cls, requests: Sequence[Self]) -> bytes:
        (joined,) = rows.REQUEST.join([[each._request] for each in requests], 0)
        return v2client.encode(joined)

    @classmethod
    def part(cls, requests: Sequence[Self], body: bytes, header_length: int | None) -> list[Answer] | None:
        try:
            found = rows.part(v2client.decode(body, header_length), [each.count for each in requests])
            return None if found is None else list(map(_encoded, found, (each._request for each in requests)))
        except (Error, ValueError):
            return None


def read(path: bytes, headers: Mapping[bytes, bytes], body: bytes) -> Rows | None:
    """The rows of a request; None if it is none that can be joined, whatever it is instead."""
    if b"content-encoding" in headers:
        return None
    if _V1.fullmatch(path):
        return _v1(body)
    found = _V2.fullmatch(path)
    return _v2(body, headers.get(HEADER_LENGTH), found[1].decode("latin-1")) if found else None


def _v1(body: bytes) -> V1Rows | None:
    try:
        others = _object.decode(body)
        instances = _list.decode(others.pop("instances"))
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return None  # the server says what is wrong with it
    return V1Rows(instances, others) if instances else None


def _v2(body: bytes, length: bytes | None, model: str) -> V2Rows | None:
    try:
        request = v2.decode(body, None if length is None else int(length), model)
        kind = rows.REQUEST.kind([request])
        if kind is None:
            return None
        v2client.encode(request)
    except (Error, ValueError):
        return None
    return V2Rows(request, kind)


def _encoded(response: InferResponse, request: InferRequest) -> Answer:
    response.id = request.id
    header_length, chunks = v2.encode(response, request)
    return Answer(b"".join(chunks), header_length)
