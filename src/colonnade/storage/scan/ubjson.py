"""Walks Universal Binary JSON, in which XGBoost saves models (`.ubj`), to its end.

Source: the specification at ubjson.org (Draft 12). A container may state its count (`#`) and the type of its elements
(`$`), which makes an array of numbers one block that is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from colonnade.storage.scan.report import Damaged
from colonnade.storage.scan.subject import Remark, Subject

_DEEPEST = 256
_SIZES = {
    **dict.fromkeys(b"ZNTF", 0),
    **dict.fromkeys(b"iUC", 1),
    **dict.fromkeys(b"I", 2),
    **dict.fromkeys(b"ld", 4),
    **dict.fromkeys(b"LD", 8),
}
_INTEGERS = frozenset(b"iUIlL")


def ubjson(subject: Subject) -> Iterator[Remark]:
    """One complete value, and nothing behind it."""
    with subject.mapped() as content:
        end = _value(content, 0, 0)
        if end != len(content):
            raise Damaged(f"its value ends at byte {end}, and the file at {len(content)}")
    yield from ()


def _byte(content: mmap, place: int) -> int:
    if place >= len(content):
        raise Damaged(f"it ends inside a value at byte {place}")
    return content[place]


def _past(content: mmap, place: int) -> int:
    if place > len(content):
        raise Damaged(f"it ends at byte {len(content)}, inside a value that goes on to {place}")
    return place


def _value(content: mmap, place: int, depth: int) -> int:
    return _payload(content, _byte(content, place), place + 1, depth)


def _payload(content: mmap, kind: int, place: int, depth: int) -> int:
    """Where the value of a type ends that begins, after its type, at `place`."""
    size = _SIZES.get(kind)
    if size is not None:
        return _past(content, place + size)
    if kind in b"SH":
        length, place = _integer(content, place)
        return _past(content, place + length)
    if kind in b"[{":
        if depth == _DEEPEST:
            raise Damaged("its values lie in each other too deeply")
        return _container(content, place, ord("]") if kind == ord("[") else ord("}"), depth + 1)
    raise Damaged(f"it is no UBJSON: type {bytes([kind])!r} at byte {place - 1}")


def _container(content: mmap, place: int, closing: int, depth: int) -> int:
    kind = count = None
    if _byte(content, place) == ord("$"):
        kind, place = _byte(content, place + 1), place + 2
        if _byte(content, place) != ord("#"):
            raise Damaged(f"a container at byte {place} states a type and no count")
    if _byte(content, place) == ord("#"):
        count, place = _integer(content, place + 1)
    named = closing == ord("}")
    if kind is not None and count is not None and not named and kind in _SIZES:
        return _past(content, place + count * _SIZES[kind])
    done = 0
    while done != count:
        marker = _byte(content, place)
        if count is None and marker == closing:
            return place + 1
        if count is None and marker == ord("N"):
            place += 1
            continue
        if named:
            length, place = _integer(content, place)
            place = _past(content, place + length)
        before = place
        place = _value(content, place, depth) if kind is None else _payload(content, kind, place, depth)
        done += 1
        if place == before and not named:  # values without bytes: there is nothing to count through
            return place
    return place


def _integer(content: mmap, place: int) -> tuple[int, int]:
    """(a count or length, where it ends)."""
    kind = _byte(content, place)
    if kind not in _INTEGERS:
        raise Damaged(f"byte {place} is no length")
    end = _past(content, place + 1 + _SIZES[kind])
    value = int.from_bytes(content[place + 1 : end], "big", signed=kind != ord("U"))
    if value < 0:
        raise Damaged(f"the length at byte {place} is negative")
    return value, end
