"""What a hook takes, read off its signature once.

Annotations may be real types, or text that cannot be resolved because a library is imported only for type checking;
both are understood, so that a model need not import pandas to say that it takes a frame.
"""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from colonnade.errors import LoadFailed
from colonnade.wire.tensors import InferRequest

_PASSED_BY_NAME = ("headers", "response_headers")
_TOKENS = {"ndarray": "array", "NDArray": "array", "DataFrame": "frame", "InferRequest": "request"}
_EMPTY_TOKENS = {"np", "numpy", "npt", "typing", "pd", "pandas", "colonnade", "Union", "Optional", "None"}


class Form(enum.Enum):
    """What `predict` is given."""

    ARRAY = "one array"
    ARRAYS = "several arrays"
    FRAME = "a data frame"
    TABLE = "an array or a data frame"
    REQUEST = "the request"
    PAYLOAD = "the payload as decoded"


@dataclass(frozen=True, slots=True)
class Signature:
    """A hook's signature.

    Attributes:
        form: what it takes first.
        names: names of its array parameters, for `Form.ARRAY` and `Form.ARRAYS`.
        headers: it has a parameter `headers`.
        response_headers: it has a parameter `response_headers`.
        is_async: it is a coroutine function.
        streams: it is an async generator function, whose parts are the answer.
    """

    form: Form
    names: tuple[str, ...]
    headers: bool
    response_headers: bool
    is_async: bool
    streams: bool


def read(function: Callable[..., Any], label: str) -> Signature:
    """The signature of a bound hook.

    Args:
        label: the hook's name for messages, such as `Iris.predict`.

    Raises:
        LoadFailed: it cannot be called with one payload.
    """
    if inspect.isgeneratorfunction(function):
        raise LoadFailed(f"{label} is a blocking generator; make it `async def`, or return the whole answer")
    parameters = inspect.signature(function).parameters.values()
    annotations = _annotations(function)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    names = {parameter.name for parameter in parameters}
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in _PASSED_BY_NAME
    ]
    kinds = [_kinds(annotations.get(parameter.name)) for parameter in positional]
    form, count = _form(kinds)
    takes_many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if not positional and not takes_many:
        raise LoadFailed(f"{label} takes no payload; give it a parameter, such as `x: np.ndarray`")
    for parameter in positional[count:]:
        if parameter.default is parameter.empty:
            raise LoadFailed(
                f"{label} has a parameter {parameter.name} that nothing fills; "
                "annotate it as np.ndarray or give it a default"
            )
    return Signature(
        form,
        tuple(parameter.name for parameter in positional[:count]),
        takes_any or "headers" in names,
        takes_any or "response_headers" in names,
        inspect.iscoroutinefunction(function),
        inspect.isasyncgenfunction(function),
    )


def _form(kinds: list[frozenset[str]]) -> tuple[Form, int]:
    """The form, and how many leading parameters it fills."""
    if not kinds:
        return Form.PAYLOAD, 0
    if kinds[0] == {"array"}:
        count = next((index for index, kind in enumerate(kinds) if kind != {"array"}), len(kinds))
        return (Form.ARRAY if count == 1 else Form.ARRAYS), count
    if kinds[0] == {"frame"}:
        return Form.FRAME, 1
    if kinds[0] == {"array", "frame"}:
        return Form.TABLE, 1
    if kinds[0] == {"request"}:
        return Form.REQUEST, 1
    return Form.PAYLOAD, 1


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation may be any expression; then its text has to do
        return dict(getattr(function, "__annotations__", {}))


def _kinds(annotation: Any) -> frozenset[str]:
    """Which of array, frame, request and other an annotation allows."""
    if annotation is None:
        return frozenset({"other"})
    if isinstance(annotation, str):
        return _kinds_of_text(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        options = [option for option in typing.get_args(annotation) if option is not type(None)]
        return frozenset().union(*(_kinds(option) for option in options))
    kind = origin or annotation
    if isinstance(kind, type):
        if issubclass(kind, np.ndarray):
            return frozenset({"array"})
        if issubclass(kind, InferRequest):
            return frozenset({"request"})
        if kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas":
            return frozenset({"frame"})
    return frozenset({"other"})


def _kinds_of_text(text: str) -> frozenset[str]:
    while "[" in text and (plain := re.sub(r"(?<!Union)(?<!Optional)\[[^\[\]]*\]", "", text)) != text:
        text = plain  # drop NDArray's element type and the like
    words = set(re.findall(r"\w+", text)) - _EMPTY_TOKENS
    return frozenset(_TOKENS.get(word, "other") for word in words) or frozenset({"other"})
