"""Files of plain arrays: safetensors, NumPy's `.npy`, and GGUF. They hold no code; they may be cut short.

Sources: the README of safetensors ("Format"); NumPy's `numpy.lib.format`; ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from typing import IO

import msgspec

from colonnade.storage.scan import pickles
from colonnade.storage.scan.report import Damaged, Risk
from colonnade.storage.scan.streams import Stream
from colonnade.storage.scan.subject import Remark, Subject

NPY_MAGIC = b"\x93NUMPY"

_LONGEST_HEADER = 100_000_000  # what the reference implementation takes
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def safetensors(subject: Subject) -> Iterator[Remark]:
    """Held against its header: every byte belongs to one tensor, and each tensor has as many as its shape takes."""
    with subject.open() as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > _LONGEST_HEADER or 8 + length > subject.size:
            raise Damaged(f"its header should have {length} bytes, and the file has {subject.size}")
        header = file.read(length)
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in entries.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"its header cannot be read: {error}") from None
    place = 0
    for name, entry in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        bits = _BITS.get(entry.dtype)
        wanted = None if bits is None else -(-math.prod(entry.shape) * bits // 8)
        if begin != place or end < begin or min(entry.shape, default=0) < 0 or wanted not in (None, end - begin):
            raise Damaged(f"the tensor {name!r} has the bytes {begin} to {end}, which its header contradicts")
        place = end
    if 8 + length + place != subject.size:
        raise Damaged(f"it has {subject.size} bytes, and its header speaks of {8 + length + place}")
    yield from ()


def npy(subject: Subject) -> Iterator[Remark]:
    """Held against its header; an array of objects is a pickle."""
    with subject.open() as file:
        yield from npy_array(file, subject.size)


def npy_array(file: IO[bytes], size: int) -> Iterator[Remark]:
    """The same for an open file of `size` bytes."""
    head = file.read(8)
    if len(head) < 8 or not head.startswith(NPY_MAGIC):
        raise Damaged("it is no .npy file")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _LONGEST_HEADER or 8 + width + length > size:
        raise Damaged("it ends inside its header")
    text = file.read(length)
    try:
        header = (
            ast.literal_eval(text.decode("utf-8" if head[6] > 2 else "latin-1").strip()) if length < 1 << 16 else {}
        )
        shape, kind = header["shape"], header["descr"]
        count = math.prod(shape)
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise Damaged(f"its header cannot be read: {error}") from None
    if any("O" in each for each in _kinds(kind)):
        for demand in pickles.demands(Stream(file)):
            yield Remark(Risk.CODE, f"its objects ask for {demand}")
        yield Remark(Risk.CODE, "it is an array of Python objects, which are pickled")
        return
    item = _item_size(kind)
    if item is not None and 8 + width + length + count * item > size:
        raise Damaged(
            f"it has {size} bytes, and its array of shape {list(shape)} needs {count * item} after the header"
        )


def _kinds(kind: object) -> Iterator[str]:
    """The types in a description: one text, or a list of fields with a name and a type each."""
    if isinstance(kind, list):
        for field in kind:
            yield from _kinds(field[1]) if isinstance(field, tuple) and len(field) > 1 else ("O",)
    elif isinstance(kind, tuple) and kind:
        yield from _kinds(kind[0])
    else:
        yield str(kind)


def _item_size(kind: object) -> int | None:
    """Bytes of an element by its description; None where that is a structure, of which only the file tells."""
    if not isinstance(kind, str) or len(kind) < 3 or not kind[2:].split("[")[0].isdigit():
        return None
    number = int(kind[2:].split("[")[0])
    return number * 4 if kind[1] == "U" else number


def gguf(subject: Subject) -> Iterator[Remark]:
    """Its head: the counts that it states must fit into it. Sizes of quantised blocks are the loader's to know."""
    with subject.open() as file:
        head = file.read(24)
    tensors, values = int.from_bytes(head[8:16], "little"), int.from_bytes(head[16:24], "little")
    if len(head) < 24 or 24 + 24 * tensors + 12 * values > subject.size:
        raise Damaged(f"it speaks of {tensors} tensors and {values} values, and has {subject.size} bytes")
    yield from ()


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def shards(subject: Subject) -> Iterator[Remark]:
    """`model.safetensors.index.json` and its like: every shard that it names is there."""
    try:
        index = msgspec.json.decode(subject.path.read_bytes(), type=_Index)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"it is no index of shards: {error}") from None
    for name in sorted(set(index.weight_map.values())):
        if "/" in name or name in ("", ".", ".."):
            yield Remark(Risk.UNSAFE, f"it names the shard {name!r}, which would lie outside of its folder")
        elif not (subject.path.parent / name).is_file():
            raise Damaged(f"the shard {name} is missing")
