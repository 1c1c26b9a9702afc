"""A V2 request held against the inputs that a model declares.

Names, datatypes and shapes must be the declared ones: a tensor of another type is refused and not converted, as the
protocol asks, so that a client never gets an answer to a question that it did not ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from colonnade.errors import InvalidInput
from colonnade.model.payloads import fits
from colonnade.wire.shapes import brief
from colonnade.wire.tensors import InferRequest, TensorSpec


def checker(name: str, specs: Sequence[TensorSpec]) -> Callable[[InferRequest], None] | None:
    """The check for a model with these inputs, or None if it declares none and takes anything."""
    if not specs:
        return None
    by_name = {spec.name: spec for spec in specs}
    listing = ", ".join(describe(spec) for spec in specs)

    def check(request: InferRequest) -> None:
        for tensor in request.inputs:
            spec = by_name.get(tensor.name)
            if spec is None:
                raise InvalidInput(f'Model with name {name} has no input "{tensor.name}"; its inputs are {listing}')
            if tensor.datatype != spec.datatype:
                raise InvalidInput(
                    f'Input "{tensor.name}" is {tensor.datatype}, but the model takes {spec.datatype}; convert it'
                )
            if not fits(tensor.shape, spec.shape):
                raise InvalidInput(
                    f'Input "{tensor.name}" has shape {brief(tensor.shape)}, but the model takes {brief(spec.shape)}'
                )
        if len(request.inputs) < len(by_name):
            given = {tensor.name for tensor in request.inputs}
            missing = ", ".join(describe(spec) for spec in specs if spec.name not in given)
            raise InvalidInput(f"Model with name {name} needs {missing}, which the request does not have")

    return check


def describe(spec: TensorSpec) -> str:
    """A declared tensor for a message: `"x" (FP32 [-1, 4])`."""
    return f'"{spec.name}" ({spec.datatype} {brief(spec.shape)})'
