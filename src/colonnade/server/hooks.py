"""A model as it is bound for serving: each hook tells how long it took, and a generator becomes a call.

The hooks are wrapped on a view of the model and not on the model itself, so that user code which calls its own methods
meets them as it wrote them, and is not counted as a request.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial, wraps
from time import perf_counter
from typing import Any, cast

from colonnade.errors import Error, NotImplementedByModel
from colonnade.model import foreign
from colonnade.model.contract import Model

_log = logging.getLogger(__name__)

Observe = Callable[[float], None]  # takes the seconds of one call
Sample = tuple[Observe, float]
Refusal = Callable[[NotImplementedError], NotImplementedByModel]
HOOKS = ("preprocess", "predict", "postprocess", "explain")


def overridden(model: Model, hook: str) -> bool:
    """Whether the user wrote this hook."""
    return getattr(getattr(model, hook), "__func__", None) is not getattr(Model, hook)


def observed(model: Model, samples: deque[Sample], observers: Callable[[str], Observe]) -> Model:
    """A view of `model` for `bind`, whose own hooks append a sample to `samples` for every call that succeeds.

    A hook may run on any thread and an observer only on the loop; a deque takes appends from all. `observers` names the
    observer of each hook.
    """
    view = type(type(model).__name__, (), {"__getattr__": lambda _, name: getattr(model, name)})()
    for hook in HOOKS:
        if overridden(model, hook):
            function = getattr(model, hook)
            refusal = partial(_unimplemented, f"Model with name {model.name} does not implement {hook}.", function)
            setattr(view, hook, _timed(function, observers(hook), samples, refusal))
    return cast(Model, view)


def _timed(
    function: Callable[..., Any], observe: Observe, samples: deque[Sample], refusal: Refusal
) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def begin(*args: Any, **kwargs: Any) -> Any:
            return _timed_parts(function(*args, **kwargs), observe, samples, refusal)

        return begin
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def wait(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            try:
                result = await function(*args, **kwargs)
            except Exception as error:
                said = _meant(error, refusal)
                if said is None:
                    raise
                raise said from error
            samples.append((observe, perf_counter() - start))
            return result

        return wait

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            said = _meant(error, refusal)
            if said is None:
                raise
            raise said from error
        samples.append((observe, perf_counter() - start))
        return result

    return call


async def _timed_parts(
    parts: AsyncGenerator[Any, Any], observe: Observe, samples: deque[Sample], refusal: Refusal
) -> AsyncIterator[Any]:
    start = perf_counter()
    async with aclosing(parts):  # a client that leaves ends the user's generator now, not when it is collected
        try:
            async for part in parts:
                yield part
        except Exception as error:
            said = _meant(error, refusal)
            if said is None:
                raise
            raise said from error
    samples.append((observe, perf_counter() - start))


def _meant(error: Exception, refusal: Refusal) -> Error | None:
    """What a hook's error says to the caller in words of the product, if it is not of the product's family itself."""
    if isinstance(error, NotImplementedError):
        return refusal(error)
    return foreign.failure(error)


def _unimplemented(otherwise: str, function: Callable[..., Any], error: NotImplementedError) -> NotImplementedByModel:
    """KServe's 501. The text is shown if the hook's own module raised it; a library's is not meant for callers."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    own = trace is not None and trace.tb_frame.f_globals is getattr(inspect.unwrap(function), "__globals__", None)
    if not own:
        _log.warning("a hook raised NotImplementedError", exc_info=error)
    return NotImplementedByModel((str(error) if own else "") or otherwise)
