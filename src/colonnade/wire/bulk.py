"""Large JSON bodies: numbers go from the text into an array, and no Python object is made of any of them.

To decode a hundred thousand numbers into a list costs twice as much as to parse them, and to convert the list as much
again. simdjson parses at the speed of the memory and copies a list of numbers, nested or not, into one flat buffer.
What it does not tell is where inner lists began. So the number of lists in the text is held against the number that the
shapes of its arrays account for, and the lengths of inner lists against the shape.

This is a short cut and never a judge. What is not surely lists of numbers of one type and one shape gives None, and
goes the way of small bodies, which decides and finds the words. simdjson reads the same exact doubles and 64-bit
integers; what it cannot read (integers beyond 64 bits, half a surrogate pair) it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod
from typing import Any, Literal

import numpy as np
import simdjson

from colonnade.wire.jsontext import Body
from colonnade.wire.shapes import MAX_DIMENSIONS
from colonnade.wire.tensors import DTYPES

LARGE = 4096  # bytes of JSON from which this is quicker than typed decoding

_FORMS: dict[str, tuple[Literal["d", "i", "u"], np.dtype[Any]]] = {  # by kind of dtype: the widest of it
    "f": ("d", np.dtype("<f8")),
    "i": ("i", np.dtype("<i8")),
    "u": ("u", np.dtype("<u8")),
}
_UNCOUNTED = 0xFFFFFF  # simdjson counts the elements of a list no further
_BYTE_ORDER_MARK = 0xEF  # the first byte of one, which simdjson skips and JSON must not have
_KEPT_UP_TO = (
    16 << 20
)  # bytes of JSON; a parser keeps the memory that its largest text took, which is several times that
_SPARSE = 64  # lists in a text up to which it is quicker to find one after the other than to look at each byte

_parser = simdjson.Parser()


class Document:
    """A JSON object that was parsed and is not yet made into Python objects.

    Attributes:
        root: the object's members by name: plain values, `simdjson.Object` or `simdjson.Array`. No name is there twice.
    """

    __slots__ = ("_lists", "_text", "root")

    def __init__(self, text: bytes | bytearray, root: dict[str, Any]) -> None:
        self._text = text
        self.root = root
        self._lists = 0

    def tensor(self, datatype: str, shape: Sequence[int], data: simdjson.Array) -> np.ndarray | None:
        """The array that `data` holds, flat or nested as `shape` says; None if it is not surely one of `datatype`."""
        dtype = DTYPES.get(datatype)
        if dtype is None or dtype.kind not in _FORMS or datatype in ("FP16", "BF16"):
            return None
        flat = _flat(data, dtype.kind)
        if flat is None or not flat.size or flat.size != prod(shape) or min(shape, default=1) < 0:
            return None
        lists = _lists(data, shape if type(data[0]) is simdjson.Array else (flat.size,))
        array = _narrowed(flat, dtype)
        if lists is None or array is None or len(shape) > MAX_DIMENSIONS:
            return None
        self._lists += lists
        return array.reshape(shape)

    def array(self, data: simdjson.Array) -> np.ndarray | None:
        """The array that nested lists form, of the dtype that numpy would give them; None if they surely form none."""
        flat = _flat(data, "i")
        if flat is None:
            flat = _flat(data, "u")
        if flat is None:
            flat = _flat(data, "f")
        if flat is None or not flat.size:
            return None
        shape = []
        inner: Any = data
        while type(inner) is simdjson.Array:
            if not len(inner):
                return None
            shape.append(len(inner))
            inner = inner[0]
        lists = _lists(data, shape)
        if lists is None or flat.size != prod(shape):
            return None
        self._lists += lists
        return flat.reshape(shape)

    def values(self, data: simdjson.Array) -> list[Any] | None:
        """The elements of a flat list as Python objects; None if one is a list or an object."""
        values: list[Any] = data.as_list()
        if not {list, dict}.isdisjoint(map(type, values)):
            return None
        self._lists += 1
        return values

    def has_no_more_lists(self, others: int) -> bool:
        """Whether the text has no lists but those of its arrays and so many others. Only then is each array what the
        text says: an empty list, or one in the place of a number, leaves no other trace in it.

        A bracket in a string counts as a list: then the answer is False, which costs time and is never wrong.
        """
        expected = self._lists + others
        text = self._text
        if expected > _SPARSE:
            return text.count(b"[") == expected
        at = -1
        for _ in range(expected):
            at = text.find(b"[", at + 1)
            if at < 0:
                return False
        return text.find(b"[", at + 1) < 0


def parse(body: Body) -> Document | None:
    """The JSON object in `body`; None if it is none, or has a name twice."""
    global _parser
    text = bytes(body) if isinstance(body, memoryview) else body
    if not text or text[0] == _BYTE_ORDER_MARK:
        return None
    try:
        found = _parser.parse(text)
    except ValueError:
        return None
    except RuntimeError:  # too large an integer; or the document before is still looked at, perhaps by a traceback
        _parser = simdjson.Parser()
        try:
            found = _parser.parse(text)
        except (ValueError, RuntimeError):
            return None
    if len(text) > _KEPT_UP_TO:
        _parser = simdjson.Parser()
    root = members(found)
    return None if root is None else Document(text, root)


def members(value: Any) -> dict[str, Any] | None:
    """The members of a parsed object by name; None if it is no object, or has a name twice or one with a NUL."""
    if type(value) is not simdjson.Object:
        return None
    names = list(value.keys())
    if len(set(names)) != len(names) or "\0" in "".join(names):  # simdjson would find the text before the NUL
        return None
    return {name: value[name] for name in names}


def plain(value: Any) -> Any:
    """A parsed value as Python objects."""
    if type(value) is simdjson.Array:
        return value.as_list()
    return value.as_dict() if type(value) is simdjson.Object else value


def _flat(data: simdjson.Array, kind: str) -> np.ndarray | None:
    name, dtype = _FORMS[kind]
    try:
        return np.frombuffer(data.as_buffer(of_type=name), dtype)
    except (TypeError, ValueError):  # an element of another type, or one that is out of range; or no elements
        return None


def _lists(data: simdjson.Array, shape: Sequence[int]) -> int | None:
    """Number of lists in `data` if it is nested as `shape` says, down to the innermost lists; else None."""
    if not 0 < len(shape) <= MAX_DIMENSIONS or len(data) != shape[0] or shape[0] >= _UNCOUNTED:
        return None
    count = 1
    for depth in range(1, len(shape)):
        rows: Iterable[Any] = data
        for _ in range(depth - 1):
            rows = chain.from_iterable(rows)
        try:
            if set(map(len, rows)) != {shape[depth]}:
                return None
        except TypeError:  # a number among lists
            return None
        count += prod(shape[:depth])
    return count


def _narrowed(flat: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray | None:
    """The values in `dtype`; None if one is out of its range."""
    if flat.dtype == dtype:
        return flat
    if dtype.kind == "f":
        try:
            with np.errstate(over="raise"):
                return flat.astype(dtype)
        except FloatingPointError:
            return None
    limits = np.iinfo(dtype)
    if flat.min() < limits.min or flat.max() > limits.max:
        return None
    return flat.astype(dtype)
