"""Answers kept for requests that come again, for a service that asks for it.

Off by default, since nobody but the owner of a model knows that equal inputs mean equal answers. A key is a digest of
all that an answer depends on: which load of the model, and names, datatypes, shapes, bytes, parameters and requested
outputs of the inputs. The id of a request is no part of it and is put into the answer anew. Bounded by bytes; the
answer that was not asked for the longest goes first. What a request says in `Cache-Control` is obeyed (RFC 9111,
section 5.2.1), and an answer says in `Cache-Status` what was done (RFC 9211). Streams, failures, answers with headers
of the model's own, and models that look at headers are never kept.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec
import numpy as np

from colonnade.errors import DeadlineExceeded, Error
from colonnade.model.binding import Operation
from colonnade.server.batch import Call
from colonnade.wire import v1
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor

if TYPE_CHECKING:
    from colonnade.server.execution import Ticket

_OVERHEAD = 512  # bytes of an entry besides its data
_DIGEST_BYTES = 16
_STATUS = "cache-status"

_pack = msgspec.msgpack.Encoder(order="sorted").encode


class Start(Protocol):
    """`Execution.start`."""

    def __call__(self, call: Call, operation: Operation, payload: Any, size: int) -> Ticket | None: ...


class Directives(NamedTuple):
    """What a request's `Cache-Control` says.

    Attributes:
        stores: its answer may be kept.
        max_age: seconds that a kept answer may be old; 0: none will do.
        only_cached: a kept answer or none.
    """

    stores: bool = True
    max_age: float = float("inf")
    only_cached: bool = False


def directives(text: bytes) -> Directives:
    """Reads a header; what is not known or not well-formed is passed over, as RFC 9111 asks."""
    stores, max_age, only_cached = True, float("inf"), False
    for word in text.decode("latin-1").lower().split(","):
        name, _, value = word.strip().partition("=")
        value = value.strip('"')
        if name == "no-store":
            stores, max_age = False, 0.0
        elif name == "no-cache":
            max_age = 0.0
        elif name == "max-age" and value.isdecimal():
            max_age = min(max_age, float(value))
        elif name == "only-if-cached":
            only_cached = True
    return Directives(stores, max_age, only_cached)


@dataclass(slots=True)
class _Entry:
    result: Any
    size: int
    stored: float


class ResponseCache:
    """The kept answers of one name that a replica serves. It belongs to the event loop's thread.

    Attributes:
        hits: requests that were answered from it.
        misses: requests that were looked for in vain, or did not want a kept answer.
        size: bytes in use.
    """

    def __init__(self, capacity: int, ttl: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        """`capacity`: most bytes; `ttl`: seconds that an answer is kept, None: as long as there is room."""
        self.hits = 0
        self.misses = 0
        self.size = 0
        self._capacity = capacity
        self._ttl = float("inf") if ttl is None else ttl
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: bytes, max_age: float) -> tuple[Any, float] | None:
        """A kept result with its age in seconds, if it is young enough."""
        entry = self._entries.get(key)
        if entry is not None:
            age = self._clock() - entry.stored
            if age >= self._ttl:
                self._drop(key)
            elif age <= max_age and max_age > 0:
                self._entries.move_to_end(key)
                self.hits += 1
                return entry.result, age
        self.misses += 1
        return None

    def keep(self, key: bytes, result: Any, size: int) -> bool:
        """Keeps a result in place of older ones; False if it is larger than all there is."""
        size += _OVERHEAD
        if size > self._capacity:
            return False
        if key in self._entries:
            self._drop(key)
        while self.size + size > self._capacity:
            self._drop(next(iter(self._entries)))
        self._entries[key] = _Entry(result, size, self._clock())
        self.size += size
        return True

    def clear(self) -> None:
        """Forgets all answers, since another model gives them now."""
        self._entries.clear()
        self.size = 0

    def _drop(self, key: bytes) -> None:
        self.size -= self._entries.pop(key).size


class CachedStart:
    """The calls of one loaded model, some of which need not be made."""

    def __init__(self, cache: ResponseCache, start: Start) -> None:
        self._cache = cache
        self._start = start
        self._salt = os.urandom(_DIGEST_BYTES)  # an answer that a model gives after its end is found by nobody

    def start(self, call: Call, operation: Operation, payload: Any, size: int, control: bytes | None) -> Ticket | None:
        """As `Execution.start`, or settles the call at once with a kept answer.

        Args:
            control: the request's header `Cache-Control`, if any.

        Raises:
            DeadlineExceeded: nothing is kept, and the request wants nothing else.
            Exception: as `Execution.start`.
        """
        wanted = Directives() if control is None else directives(control)
        key = digest(self._salt, operation, payload)
        if key is None:
            return self._start(call, operation, payload, size)
        found = self._cache.find(key, wanted.max_age)
        if found is not None:
            result, age = found
            call.response_headers[_STATUS] = "colonnade; hit"
            call.response_headers["age"] = str(int(age))
            call.settle(_for_request(result, payload), None)
            return None
        if wanted.only_cached:
            raise DeadlineExceeded("No answer is kept for this request, and it says only-if-cached in Cache-Control.")
        if not wanted.stores:
            return self._start(call, operation, payload, size)
        return self._start(_Kept(call, self._cache, key, payload), operation, payload, size)


class _Kept(Call):
    """A call whose answer is kept on its way."""

    __slots__ = ("_cache", "_call", "_key", "_request")

    def __init__(self, call: Call, cache: ResponseCache, key: bytes, request: Any) -> None:
        super().__init__(call.deadline)
        self._call = call
        self._cache = cache
        self._key = key
        self._request = request

    def settle(self, result: Any, error: Exception | None) -> None:
        filled = self._call.response_headers
        if error is None and not filled:
            kept = _to_keep(result, self._request)
            if kept is not None and self._cache.keep(self._key, *kept):
                filled[_STATUS] = "colonnade; fwd=miss; stored"
        self._call.settle(result, error)

    @property
    def request_headers(self) -> Mapping[str, str]:
        return self._call.request_headers

    @property
    def response_headers(self) -> dict[str, str]:
        return self._call.response_headers


def digest(salt: bytes, operation: Operation, payload: Any) -> bytes | None:
    """The key of a request; None for one that has no form to be compared by.

    Args:
        salt: of the loaded model.
        operation: what is asked of it.
        payload: the decoded request.
    """
    from hashlib import blake2b  # brings OpenSSL, for a cache that few services ask for

    made = blake2b(salt, digest_size=_DIGEST_BYTES)
    made.update(id(operation).to_bytes(8, "little"))
    if isinstance(payload, InferRequest):
        outputs = [(output.name, output.parameters) for output in payload.outputs]
        inputs = [(each.name, each.datatype, each.shape, each.parameters) for each in payload.inputs]
        head = _pack((inputs, outputs, payload.parameters))
        made.update(len(head).to_bytes(8, "little") + head)
        for tensor in payload.inputs:
            _add(made, tensor.data)
    elif isinstance(payload, dict):
        try:
            made.update(v1.encode(payload))
        except Error:  # it holds what JSON does not: a hook's own objects
            return None
    else:
        return None
    return made.digest()


def _add(made: Any, array: np.ndarray) -> None:
    if array.dtype.kind == "O":
        for element in array.ravel().tolist():
            made.update(len(element).to_bytes(8, "little") + bytes(element))
    else:
        made.update(np.ascontiguousarray(array).tobytes() if array.nbytes < 4096 else np.ascontiguousarray(array).data)


def _to_keep(result: Any, request: Any) -> tuple[Any, int] | None:
    """A copy of a result that nobody can change, and its bytes; None if it cannot be kept."""
    if isinstance(result, InferResponse):
        outputs = [
            Tensor(each.name, each.datatype, each.shape, np.array(each.data), each.parameters)
            for each in result.outputs
        ]
        own = None if result.id == request.id else result.id
        kept = InferResponse(result.model_name, outputs, own, result.model_version, result.parameters)
        return kept, sum(_bytes(each.data) for each in outputs)
    if not isinstance(result, dict):
        return None
    try:
        text = v1.encode(result)
    except Error:  # a stream of parts among others
        return None
    return msgspec.Raw(text), len(text)


def _bytes(array: np.ndarray) -> int:
    if array.dtype.kind == "O":
        return sum(len(element) + 64 for element in array.ravel().tolist())
    return array.nbytes


def _for_request(result: Any, request: Any) -> Any:
    """A kept result as the answer of this request."""
    if not isinstance(result, InferResponse):
        return result
    identity = result.id or request.id
    return InferResponse(result.model_name, result.outputs, identity, result.model_version, result.parameters)
