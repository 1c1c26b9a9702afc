"""Which look a file gets: by its name where that settles how it is loaded, else by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from colonnade.storage.scan import archives, code, graphs, keras, pickles, streams, tensors, texts, ubjson
from colonnade.storage.scan.report import Damaged, Risk
from colonnade.storage.scan.streams import BROKEN, Stream
from colonnade.storage.scan.subject import Look, Remark, Subject

OTHER = "other"

_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"})
_COMPRESSED = frozenset({".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4"})
_LFS_POINTER = b"version https://git-lfs"


class Format(NamedTuple):
    """A name for reports, and what looks at files of it."""

    name: str
    look: Look


def pickled(subject: Subject) -> Iterator[Remark]:
    """A pickle or joblib file, compressed or not."""
    if subject.head().startswith(streams.LZ4):
        yield Remark(Risk.CODE, "it is compressed with LZ4, which is not looked into; save it otherwise")
        return
    with subject.open() as file:
        try:
            stream = streams.unpacked(file, subject.size)
            for demand in pickles.demands(stream):
                yield Remark(Risk.CODE, f"it asks for {demand}")
            if streams.compressed(subject.head()):
                stream.drain()  # to the checksum
        except BROKEN as error:
            raise Damaged(f"it cannot be unpacked: {error}") from None


def perhaps_pickled(subject: Subject) -> Iterator[Remark]:
    """A file of an unknown kind that begins like a pickle: what it asks for counts, what it lacks does not."""
    with subject.open() as file:
        try:
            for demand in pickles.demands(Stream(file)):
                yield Remark(Risk.CODE, f"it looks like a pickle that asks for {demand}")
        except Damaged:
            return


def compressed(subject: Subject) -> Iterator[Remark]:
    """A compressed file of no known kind: it unpacks to its end."""
    with subject.open() as file:
        try:
            streams.unpacked(file, subject.size).drain()
        except BROKEN as error:
            raise Damaged(f"it cannot be unpacked: {error}") from None
    yield from ()


def pointer(subject: Subject) -> Iterator[Remark]:
    """What Git leaves in place of a large file that was not fetched."""
    yield Remark(Risk.DAMAGED, "it is a pointer of Git LFS, not the file; fetch it with `git lfs pull`")


_PICKLE = Format("pickle", pickled)
_PERHAPS = Format("pickle", perhaps_pickled)
_TORCH = Format("torch", archives.torch)
_JSON = Format("json", texts.json)
_UBJSON = Format("ubjson", ubjson.ubjson)
_LIGHTGBM = Format("lightgbm", texts.lightgbm)
_ZIP = Format("zip", archives.plain)
_GGUF = Format("gguf", tensors.gguf)
_HDF5 = Format("hdf5", keras.hdf5)
_NPY = Format("npy", tensors.npy)
_XML = Format("xml", texts.xml)
_NATIVE = Format("native", code.native)

_BY_NAME = {
    "model.py": Format("python", code.program),
    "requirements.txt": Format("requirements", code.requirements),
    "saved_model.pb": Format("savedmodel", graphs.saved_model),
    "MLmodel": Format("mlflow", texts.mlmodel),
}
_BY_SUFFIX = {
    **dict.fromkeys(_PICKLES, _PICKLE),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pt2"), _TORCH),
    **dict.fromkeys((".so", ".dll", ".dylib", ".pyd", ".plan", ".engine"), _NATIVE),
    **dict.fromkeys((".pmml", ".xml"), _XML),
    **dict.fromkeys((".h5", ".hdf5"), _HDF5),
    **dict.fromkeys((".json", ".ipynb"), _JSON),
    ".zip": _ZIP,
    ".mar": Format("torchserve", archives.torchserve),
    ".safetensors": Format("safetensors", tensors.safetensors),
    ".gguf": _GGUF,
    ".onnx": Format("onnx", graphs.onnx),
    ".ubj": _UBJSON,
    ".npy": _NPY,
    ".npz": Format("npz", archives.npz),
    ".keras": Format("keras", archives.keras_archive),
    ".skops": Format("skops", archives.skops),
}
_SHARDS = Format("shards", tensors.shards)
_COMPRESSED_FILE = Format("compressed", compressed)
_POINTER = Format("pointer", pointer)


def of(subject: Subject) -> Format | None:
    """The format of a file, or None if nothing is known about such files."""
    path = PurePosixPath(subject.name)
    head = subject.head()
    if head.startswith(_LFS_POINTER):
        return _POINTER
    if path.name in _BY_NAME:
        return _BY_NAME[path.name]
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-2:] == [".index", ".json"]:
        return _SHARDS
    last = suffixes[-1] if suffixes else ""
    if last in _COMPRESSED and len(suffixes) > 1 and suffixes[-2] in _PICKLES:
        return _PICKLE
    if last == ".ckpt" and not head.startswith((b"PK", b"\x80")):
        return None  # TensorFlow's, of another kind
    return _BY_SUFFIX.get(last) or _by_head(last, head)


def _by_head(suffix: str, head: bytes) -> Format | None:
    if head.startswith(b"PK\x03\x04"):
        return _TORCH if suffix == ".bin" else _ZIP
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _TORCH if suffix == ".bin" and _is_torch(head) else _PERHAPS
    if head.startswith(b"GGUF"):
        return _GGUF
    if head.startswith(b"\x89HDF"):
        return _HDF5
    if head.startswith(tensors.NPY_MAGIC):
        return _NPY
    if head.startswith((b"tree\n", b"tree\r\n")):
        return _LIGHTGBM
    if suffix in (".bst", ".model") and head[:1] == b"{":
        return _UBJSON if head[1:2] in (b"i", b"U", b"I", b"l", b"L") else _JSON
    if suffix in _COMPRESSED and streams.compressed(head):
        return _COMPRESSED_FILE
    return None


def _is_torch(head: bytes) -> bool:
    """Whether a pickle begins with the magic number of PyTorch's old format, as a LONG1 of ten bytes."""
    return b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" in head[:16]
