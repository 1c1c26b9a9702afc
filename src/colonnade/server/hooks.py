"""A model as it is bound for serving: each hook tells how long it took, and a generator becomes a call.

The hooks are wrapped on a view of the model and not on the model itself, so that user code which calls its own methods
meets them as it wrote them, and is not counted as a request.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import wraps
from time import perf_counter
from typing import Any, cast

from colonnade.errors import InvalidInput
from colonnade.model.contract import Model
from colonnade.wire.tensors import InferRequest

Sample = tuple[str, float]  # name of the hook, seconds
HOOKS = ("preprocess", "predict", "postprocess", "explain")


def overridden(model: Model, hook: str) -> bool:
    """Whether the user wrote this hook."""
    return getattr(getattr(model, hook), "__func__", None) is not getattr(Model, hook)


def observed(model: Model, samples: deque[Sample]) -> Model:
    """A view of `model` for `bind`, whose own hooks append a sample to `samples` for every call that succeeds.

    A hook may run on any thread; a deque takes appends from all.
    """
    view = type(type(model).__name__, (), {"__getattr__": lambda _, name: getattr(model, name)})()
    for hook in HOOKS:
        if overridden(model, hook):
            setattr(view, hook, _timed(getattr(model, hook), hook, samples))
    return cast(Model, view)


def _timed(function: Callable[..., Any], hook: str, samples: deque[Sample]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def begin(payload: Any, *args: Any, **kwargs: Any) -> Any:
            refuse_stream(payload)
            return _timed_parts(function(payload, *args, **kwargs), hook, samples)

        return begin
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def wait(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            result = await function(*args, **kwargs)
            samples.append((hook, perf_counter() - start))
            return result

        return wait

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        result = function(*args, **kwargs)
        samples.append((hook, perf_counter() - start))
        return result

    return call


async def _timed_parts(parts: AsyncGenerator[Any, Any], hook: str, samples: deque[Sample]) -> AsyncIterator[Any]:
    start = perf_counter()
    async with aclosing(parts):  # a client that leaves ends the user's generator now, not when it is collected
        async for part in parts:
            yield part
    samples.append((hook, perf_counter() - start))


def refuse_stream(payload: Any) -> None:
    """Refuses a V2 or gRPC request to a model that answers in parts, for which those protocols have no form.

    Raises:
        InvalidInput: names the protocol that streams.
    """
    if isinstance(payload, InferRequest):
        raise InvalidInput(f"Model with name {payload.model_name} answers in parts; ask it over V1, path :predict")
