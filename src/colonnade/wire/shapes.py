"""Shapes as clients declare them, checked before anything is allocated.

A shape is a claim. It is held against the data that came with it with Python's unbounded integers, so that a huge one
is a plain mismatch and never an overflow or an allocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from colonnade.errors import InvalidInput

MAX_DIMENSIONS = 64  # what a numpy array can have
_MAX_EMPTY = 1 << 48  # numpy refuses an empty array too if its other dimensions alone were too large
_MAX_EMPTY_ROWS = 1 << 20  # lists of nothing: no bytes for a client to send, 56 each where a model takes lists


def element_count(name: str, shape: Sequence[int]) -> int:
    """Number of elements that input `name` of this shape holds.

    Raises:
        InvalidInput: a negative dimension, more than `MAX_DIMENSIONS`, or an empty one behind too many rows.
    """
    if shape and min(shape) < 0:
        raise InvalidInput(f'Input "{name}": shape {brief(shape)} has a negative dimension; give the actual size')
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidInput(f'Input "{name}": shape has {len(shape)} dimensions; at most {MAX_DIMENSIONS} are supported')
    count = prod(shape)
    if not count and (
        prod(dimension or 1 for dimension in shape) > _MAX_EMPTY
        or prod(shape[: list(shape).index(0)]) > _MAX_EMPTY_ROWS
    ):
        raise InvalidInput(f'Input "{name}": shape {brief(shape)} is too large')
    return count


def brief(shape: Sequence[int]) -> str:
    """A shape for a message: never longer than some 200 characters, whatever a client sent."""
    text = "[" + ", ".join(str(dimension) for dimension in shape[:8]) + (", ...]" if len(shape) > 8 else "]")
    return text if len(text) <= 200 else text[:190] + " ...]"
