"""A model's hooks compiled into one callable for each operation, once, after `load`.

What a request needs is decided here and not per request: which hooks are overridden, what `predict` takes, who wants
headers, what is async. The plain predictor compiles to check, argument, predict, answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from colonnade.errors import LoadFailed
from colonnade.model import results, rows
from colonnade.model.conformity import checker
from colonnade.model.contract import Model
from colonnade.model.payloads import arguments
from colonnade.model.signatures import Form, Signature, read
from colonnade.wire.tensors import InferRequest, TensorSpec

Headers = Mapping[str, str]
ResponseHeaders = MutableMapping[str, str]
Offload = Callable[..., Awaitable[Any]]  # offload(function, *args): runs a blocking function elsewhere

_Call = Callable[[Any, Headers, ResponseHeaders], Any]
_Check = Callable[[InferRequest], None] | None
_Finish = Callable[[Any], Any] | None
_Answer = Callable[[Any, Any], Any]

_JOINING = {
    Form.ARRAY: rows.ARRAYS,
    Form.ARRAYS: rows.ARRAYS,
    Form.TABLE: rows.ARRAYS,
    Form.REQUEST: rows.REQUEST,
}


class Steps(NamedTuple):
    """An operation in parts. Between `make` and `finish` lies `Joined.compute`, which may serve several requests.

    Attributes:
        check: holds a payload against the declared inputs; None if there is nothing to check.
        make: from a payload to the arguments of `predict`.
        finish: from a result, of however many requests, to what is parted among them; None: the result itself.
        answer: from the finished result of one request and its payload to its answer.
    """

    check: _Check
    make: Callable[[Any], Sequence[Any]]
    finish: _Finish
    answer: _Answer


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of a model.

    `operation(payload, headers, response_headers)` returns the answer, or an awaitable of it if `is_async`. Headers
    have lower-case names; what the model puts into `response_headers` belongs into the response.

    Raises what the model raises, and `InvalidInput` or `InferenceError` for what does not fit it.

    Attributes:
        call: the compiled function; calling the operation calls it.
        is_async: True: await it on the event loop, it never blocks. False: it may block, run it on a worker thread.
        takes_headers: a hook wants the request's headers; else nobody looks at them.
        steps: the call in parts, if it is one that can be joined with others; else None.
    """

    call: Callable[..., Any]
    is_async: bool
    takes_headers: bool
    steps: Steps | None = None

    def __call__(
        self, payload: Any, headers: Headers | None = None, response_headers: ResponseHeaders | None = None
    ) -> Any:
        return self.call(payload, headers, response_headers)


class Joined(NamedTuple):
    """The middle of a call that may serve several requests: `compute(*arguments)`, and how their arguments join."""

    compute: Callable[..., Any]
    joining: rows.Joining


@dataclass(frozen=True, slots=True)
class BoundModel:
    """A loaded model, ready for requests.

    Attributes:
        model: the model itself.
        name: its name when it was bound.
        version: its version when it was bound.
        inputs: declared inputs.
        outputs: declared outputs.
        infer: `InferRequest` to `InferResponse` (V2 and gRPC); to an async generator of these, for a model that answers
            in parts.
        predict_v1: V1 payload to V1 payload.
        explain_v1: the same for `:explain`; raises `NotImplementedByModel` if the model does not explain.
        takes_bytes: V1 may hand over a body that is not JSON as `bytes`: a hook sees the payload as it came.
        joined: what requests of several clients share, for a model that is one plain `predict` over rows; else None.
    """

    model: Model
    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    infer: Operation
    predict_v1: Operation
    explain_v1: Operation
    takes_bytes: bool
    joined: Joined | None = None


class _Hook(NamedTuple):
    call: _Call
    signature: Signature
    function: Callable[..., Any]
    make: Callable[[Any], Sequence[Any]] | None = None  # the arguments of `function`, if nothing else goes into it

    @property
    def is_async(self) -> bool:
        return self.signature.is_async or self.signature.streams


def bind(model: Model, offload: Offload = asyncio.to_thread) -> BoundModel:
    """Compiles a loaded model.

    Args:
        offload: runs the blocking hooks of a model that mixes them with async ones.

    Raises:
        LoadFailed: a hook has a signature that cannot be served.
    """
    name, version = model.name, model.version
    described = tuple(model.inputs), tuple(model.outputs)
    inputs, outputs = ((), ()) if model.lenient else described
    before = [_plain_hook(model, "preprocess")] if _overridden(model, "preprocess") else []
    after = [_plain_hook(model, "postprocess")] if _overridden(model, "postprocess") else []
    predict = [*before, _compute_hook(model, "predict", inputs), *after]
    explain = [*before, _compute_hook(model, "explain", inputs), *after]
    if not _overridden(model, "explain"):
        explain = explain[len(before) : len(before) + 1]
    return BoundModel(
        model,
        name,
        version,
        *described,
        _compile(
            checker(name, inputs), predict, results.responder(name, version, outputs), results.identified, offload
        ),
        _compile(None, predict, None, lambda result, payload: results.to_v1(result), offload),
        _compile(
            None, explain, None, lambda result, payload: results.to_v1(result, "explanations"), offload, joins=False
        ),
        bool(before) or predict[0].signature.form is Form.PAYLOAD,
        _joined(predict),
    )


def require_predict(model: Model) -> None:
    """Refuse a model that cannot answer, with the method that was probably meant to.

    Raises:
        LoadFailed: neither its class nor its `load` has given it a `predict`.
    """
    if _overridden(model, "predict"):
        return
    import difflib  # no start that succeeds needs it

    kind = type(model)
    own = [word for word in dir(kind) if not hasattr(Model, word)]
    close = difflib.get_close_matches("predict", own, n=1)
    fix = f"it has {close[0]!r}; rename it" if close else "write one: it gets the request and returns the answer"
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    raise LoadFailed(
        f"{Path(file).name if file else kind.__module__}: class {kind.__name__} defines no predict(); {fix}"
    )


def _compile(
    check: _Check,
    hooks: Sequence[_Hook],
    finish: _Finish,
    answer: _Answer,
    offload: Offload,
    *,
    joins: bool = True,
) -> Operation:
    """`joins`: what it computes is `BoundModel.joined`, so it may share that with others."""
    takes_headers = any(hook.signature.headers for hook in hooks)
    end = answer if finish is None else _finished(finish, answer)
    if any(hook.is_async for hook in hooks):
        return Operation(
            _compile_async(check, hooks, end if finish is None else _in_parts(end), offload), True, takes_headers
        )
    if len(hooks) > 1:
        return Operation(_compile_chain(check, hooks, end), False, takes_headers)
    compute, make = hooks[0].call, hooks[0].make

    def run(payload: Any, headers: Headers | None = None, response_headers: ResponseHeaders | None = None) -> Any:
        if check is not None:
            check(payload)
        return end(compute(payload, headers or {}, {} if response_headers is None else response_headers), payload)

    steps = Steps(check, make, finish, answer) if joins and make is not None else None
    return Operation(run, False, takes_headers, steps)


def _finished(finish: Callable[[Any], Any], answer: _Answer) -> _Answer:
    return lambda result, payload: answer(finish(result), payload)


def _in_parts(answer: _Answer) -> _Answer:
    """`answer`, for each part of a result that comes in parts."""

    async def each(parts: AsyncIterator[Any], payload: Any) -> AsyncGenerator[Any, None]:
        try:
            async for part in parts:
                yield answer(part, payload)
        finally:
            close = getattr(parts, "aclose", None)  # a caller that leaves ends the user's generator now
            if close is not None:
                await close()

    return lambda result, payload: (each if isinstance(result, AsyncIterator) else answer)(result, payload)


def _joined(hooks: Sequence[_Hook]) -> Joined | None:
    """What requests share if `predict` is all there is and takes rows."""
    hook = hooks[0]
    joining = _JOINING.get(hook.signature.form)
    if len(hooks) > 1 or hook.is_async or hook.make is None or joining is None:
        return None
    return Joined(hook.function, joining)


def _compile_chain(check: _Check, hooks: Sequence[_Hook], answer: _Answer) -> Callable[..., Any]:
    calls = [hook.call for hook in hooks]

    def run(payload: Any, headers: Headers | None = None, response_headers: ResponseHeaders | None = None) -> Any:
        if check is not None:
            check(payload)
        given = headers or {}
        filled = {} if response_headers is None else response_headers
        value = payload
        for call in calls:
            value = call(value, given, filled)
        return answer(value, payload)

    return run


def _compile_async(
    check: _Check, hooks: Sequence[_Hook], answer: _Answer, offload: Offload
) -> Callable[..., Awaitable[Any]]:
    async def run(payload: Any, headers: Headers | None = None, response_headers: ResponseHeaders | None = None) -> Any:
        if check is not None:
            check(payload)
        given = headers or {}
        filled = {} if response_headers is None else response_headers
        value = payload
        for hook in hooks:
            if hook.signature.streams:
                value = hook.call(value, given, filled)  # an async iterator: nothing runs before it is asked for a part
            elif hook.signature.is_async:
                value = await hook.call(value, given, filled)
            else:
                value = await offload(hook.call, value, given, filled)
        return answer(value, payload)

    return run


def _overridden(model: Model, hook: str) -> bool:
    return getattr(getattr(model, hook), "__func__", None) is not getattr(Model, hook)


def _plain_hook(model: Model, name: str) -> _Hook:
    """A hook that takes whatever comes: `preprocess` or `postprocess`."""
    function = getattr(model, name)
    signature = read(function, f"{type(model).__name__}.{name}")
    return _Hook(_with_headers(function, signature.headers, signature.response_headers), signature, function)


def _compute_hook(model: Model, name: str, inputs: Sequence[TensorSpec]) -> _Hook:
    """A hook that gets its arguments by annotation: `predict` or `explain`."""
    function = getattr(model, name)
    signature = read(function, f"{type(model).__name__}.{name}")
    make = arguments(signature, model.name, inputs)
    if not (signature.headers or signature.response_headers):
        return _Hook(lambda payload, headers, response_headers: function(*make(payload)), signature, function, make)

    def call(payload: Any, headers: Headers, response_headers: ResponseHeaders) -> Any:
        keywords: dict[str, Any] = {}
        if signature.headers:
            keywords["headers"] = headers
        if signature.response_headers:
            keywords["response_headers"] = response_headers
        return function(*make(payload), **keywords)

    return _Hook(call, signature, function)


def _with_headers(function: Callable[..., Any], headers: bool, response_headers: bool) -> _Call:
    if headers and response_headers:
        return lambda value, given, filled: function(value, headers=given, response_headers=filled)
    if headers:
        return lambda value, given, filled: function(value, headers=given)
    if response_headers:
        return lambda value, given, filled: function(value, response_headers=filled)
    return lambda value, given, filled: function(value)
