"""Strategies for objects that nobody would write by hand: right names with wrong values, and any JSON at all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from colonnade.resources.inferenceservice import InferenceService
from colonnade.resources.shape import Entries, Listing, Record, Scalar, Shape, shape_of

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)


def like(shape: Shape) -> st.SearchStrategy[Any]:
    """Values that mostly fit a shape, so that the rules behind the types are reached too."""
    match shape:
        case Record():
            fields = {name: like(field.shape) for name, field in shape.properties.items()}
            required = {name: fields[name] for name, field in shape.properties.items() if field.required}
            some = st.sampled_from(sorted(fields)).flatmap(lambda name: st.fixed_dictionaries({name: fields[name]}))
            known = st.tuples(st.fixed_dictionaries(required), some, some).map(
                lambda parts: parts[0] | parts[1] | parts[2]
            )
            return st.one_of(known, known, known, json_values)
        case Listing():
            return st.lists(like(shape.item), max_size=2)
        case Entries():
            return st.dictionaries(st.text(max_size=8), like(shape.value), max_size=2)
        case Scalar():
            return _scalar(shape)
    return json_values


def _scalar(shape: Scalar) -> st.SearchStrategy[Any]:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": st.sampled_from(shape.enum) if shape.enum else st.text(max_size=8),
        "integer": st.integers(-2, 101) | st.integers(),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
    }
    return st.one_of(*(kinds[name] for name in shape.names), *(kinds[name] for name in shape.names), json_values)


services: st.SearchStrategy[Any] = like(shape_of(InferenceService)).map(
    lambda obj: (
        obj | {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"} if isinstance(obj, dict) else {}
    )
)
