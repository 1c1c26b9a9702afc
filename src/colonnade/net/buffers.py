"""Memory for large bodies, used again as soon as nobody looks at it any more.

Fresh memory of half a megabyte costs as much as to copy it: the kernel zeroes each page at its first touch. So buffers
are kept. They are handed out as views, and arrays over a body are views of views; each holds a reference to the
buffer under it, whoever keeps it and for however long. So the count of references says when a buffer is free, and
nobody has to give it back.
"""

from __future__ import annotations

import sys

from colonnade import defaults

LARGE = 64 << 10
"""Bytes from which a body is worth a buffer of its own."""

_ALIGNMENT = 16  # of a bytearray's memory, and all that the elements of an array need
_FREE = 3  # references to a buffer that is kept and free: the list, the loop variable, the argument of the count

_kept: dict[int, list[bytearray]] = {}  # by capacity


def take(size: int, aligned: int = 0) -> memoryview:
    """A writable buffer of so many bytes, with anything in it.

    Args:
        aligned: offset that will lie at a multiple of 16 in memory.
    """
    begin = -aligned % _ALIGNMENT
    buffer = _free(1 << (size + begin - 1).bit_length())
    return memoryview(buffer)[begin : begin + size]


def _free(capacity: int) -> bytearray:
    kept = _kept.setdefault(capacity, [])
    for buffer in kept:
        if sys.getrefcount(buffer) == _FREE:
            return buffer
    made = bytearray(capacity)
    if _shrink(defaults.KEPT_BUFFER_BYTES - capacity):
        kept.append(made)
    return made


def _shrink(limit: int) -> bool:
    """Forget free buffers until all that are kept take so many bytes; whether they do."""
    total = sum(capacity * len(buffers) for capacity, buffers in _kept.items())
    for capacity, buffers in _kept.items():
        for index in range(len(buffers) - 1, -1, -1):
            if total <= limit:
                return True
            if sys.getrefcount(buffers[index]) == _FREE - 1:
                del buffers[index]
                total -= capacity
    return total <= limit
