"""Files that are zip archives inside: PyTorch's, NumPy's `.npz`, Keras', skops', and any other.

They stay packed, so nothing of them lands anywhere; but each member must be there, and some members are pickles.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from tempfile import TemporaryFile
from typing import IO, cast

import msgspec

from colonnade import defaults
from colonnade.security.pickle_names import Kind, kind_of, torch_kind_of, torch_script_kind_of
from colonnade.storage import zip_stream
from colonnade.storage.scan import keras, pickles, tensors
from colonnade.storage.scan.report import Damaged, Risk
from colonnade.storage.scan.streams import PART, Bomb, Stream
from colonnade.storage.scan.subject import Remark, Subject

_NESTED_BYTES = 64 << 20  # of an archive in an archive, which is read into memory
_SCRIPT_BYTES = 64 << 20  # of the sources in TorchScript
_JSON_BYTES = 64 << 20
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, keys of the storages; then bytes
_NATIVE = (".so", ".dylib", ".dll", ".pyd")

# Calls in TorchScript: `torch.from_file(...)`, `ops.image.read_file(...)`.
_SCRIPT_FILES = re.compile(rb"\btorch\.(from_file|save|load)\b")
_SCRIPT_OPERATORS = re.compile(rb"\bops\.(\w+)\.(\w+)")
_SCRIPT_SPACES = frozenset({b"prim", b"aten", b"quantized", b"torchvision", b"torchaudio", b"sparse"})


def opened(file: IO[bytes], size: int) -> zipfile.ZipFile:
    """The archive in an open file, every member of which lies in it.

    Raises:
        Damaged: it is cut short, or no zip file.
        Bomb: it has too many members.
    """
    try:
        archive = zip_stream.opened(file, defaults.MAX_UNPACKED_FILES)
    except zip_stream.TooLarge as error:
        raise Bomb(str(error)) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
        raise Damaged(f"it is no complete zip file: {error}") from None
    for member in archive.infolist():
        if member.header_offset < 0 or member.header_offset + member.compress_size > size:
            raise Damaged(f"its member {member.filename!r} ends behind the file")
        unpacked, most = member.file_size, max(member.compress_size, 1) * defaults.MAX_UNPACKED_RATIO
        if unpacked > 64 * defaults.MIB and unpacked > most:
            raise Bomb(f"its member {member.filename!r} unpacks to {unpacked} bytes from {member.compress_size}")
    return archive


def content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """All of a member.

    Raises:
        Damaged: it cannot be unpacked.
        Bomb: it is larger than `most`.
    """
    try:
        with _opened(archive, member) as file:
            data = file.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise Damaged(f"its member {member.filename!r} cannot be read: {error}") from None
    if len(data) > most:
        raise Bomb(f"its member {member.filename!r} is larger than {most} bytes, too large to be looked at")
    return data


def plain(subject: Subject) -> Iterator[Remark]:
    """A zip file of no known kind: it is whole; what lies in it stays in it."""
    with subject.open() as file, opened(file, subject.size):
        yield from ()


def torchserve(subject: Subject) -> Iterator[Remark]:
    """TorchServe's `.mar`: a model, and programs that TorchServe runs."""
    with subject.open() as file, opened(file, subject.size) as archive:
        for member in archive.infolist():
            name = member.filename
            if name.endswith(".py"):
                yield Remark(Risk.PROGRAM, f"{name} is a Python program")
            elif name.endswith(_NATIVE):
                yield Remark(Risk.CODE, f"{name} is machine code")
            elif name.endswith((".pt", ".pth", ".pt2", ".bin", ".pkl")):
                yield from _served(archive, member)


def _served(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Remark]:
    """A model in an archive, which is looked at beside it: a packed member cannot be gone back and forth in."""
    with TemporaryFile() as file:
        try:
            with _member(archive, member) as packed:
                while block := packed.read(PART):
                    file.write(block)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Damaged(f"its member {member.filename!r} cannot be read: {error}") from None
        head = _head(file)
        if head.startswith(b"PK"):
            found = _torch_archive(file, file.seek(0, io.SEEK_END), 1)
            yield from (Remark(remark.risk, f"{member.filename}: {remark.message}") for remark in found)
        elif head[:1] == b"\x80":
            for demand in pickles.demands(Stream(file), torch_kind_of, persistent=True, count=_LEGACY_PICKLES):
                yield Remark(Risk.CODE, f"{member.filename} asks for {demand}")


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    head = file.read(8)
    file.seek(0)
    return head


def npz(subject: Subject) -> Iterator[Remark]:
    """NumPy's arrays in a zip file."""
    with subject.open() as file, opened(file, subject.size) as archive:
        for member in archive.infolist():
            with _member(archive, member) as array:
                if array.peek(6)[:6] != tensors.NPY_MAGIC and not member.filename.endswith(".npy"):
                    continue
                for remark in tensors.npy_array(array, member.file_size):
                    yield Remark(remark.risk, f"{member.filename}: {remark.message}")


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """A member, to be read; no framework packs its files in a way that cannot be read piece by piece."""
    if not zip_stream.streams(member):
        raise Damaged(f"its member {member.filename!r} is packed by method {member.compress_type}, and not by deflate")
    return archive.open(member)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BufferedReader:
    try:
        return BufferedReader(cast("RawIOBase", _opened(archive, member)))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        raise Damaged(f"its member {member.filename!r} cannot be read: {error}") from None


def torch(subject: Subject) -> Iterator[Remark]:
    """A checkpoint, TorchScript or an exported program of PyTorch.

    TorchScript passes without consent: its code is not Python and is run by PyTorch's own interpreter, which has no
    files and no processes, except through a few operators, for which its sources are searched.
    """
    head = subject.head()
    if head.startswith(b"PK"):
        with subject.open() as file:
            yield from _torch_archive(file, subject.size, 0)
    elif head[:1] == b"\x80":
        with subject.open() as file:
            for demand in pickles.demands(Stream(file), torch_kind_of, persistent=True, count=_LEGACY_PICKLES):
                yield Remark(Risk.CODE, f"it asks for {demand}")
    else:
        raise Damaged("it is neither a zip file nor a pickle, as PyTorch writes them")


def _torch_archive(file: IO[bytes], size: int, depth: int) -> Iterator[Remark]:
    with opened(file, size) as archive:
        members = archive.infolist()
        script = any("/code/" in member.filename for member in members)
        decide = torch_script_kind_of if script else torch_kind_of
        for member in members:
            name = member.filename
            if name.endswith(".pkl"):
                with _member(archive, member) as pickled:
                    for demand in pickles.demands(Stream(pickled), decide, persistent=True):
                        yield Remark(Risk.CODE, f"{name} asks for {demand}")
            elif name.endswith(_NATIVE):
                yield Remark(Risk.CODE, f"{name} is machine code")
            elif script and name.endswith(".py"):
                yield from _script(name, content(archive, member, _SCRIPT_BYTES))
            elif name.endswith((".pt", ".pth")):
                yield from _nested(name, content(archive, member, _NESTED_BYTES), depth)


def _nested(name: str, data: bytes, depth: int) -> Iterator[Remark]:
    if data.startswith(b"PK") and depth < 2:
        for remark in _torch_archive(io.BytesIO(data), len(data), depth + 1):
            yield Remark(remark.risk, f"{name}: {remark.message}")
    elif data[:1] == b"\x80" or data.startswith(b"PK"):
        yield Remark(Risk.CODE, f"{name} is a pickle in an archive, of a form that is not looked into")


def _script(name: str, source: bytes) -> Iterator[Remark]:
    for found in sorted(set(_SCRIPT_FILES.findall(source))):
        yield Remark(Risk.CODE, f"{name} calls torch.{found.decode()}, which touches files")
    for space, operator in sorted(set(_SCRIPT_OPERATORS.findall(source))):
        if space not in _SCRIPT_SPACES:
            yield Remark(Risk.CODE, f"{name} calls the operator {space.decode()}::{operator.decode()}")


def keras_archive(subject: Subject) -> Iterator[Remark]:
    """Keras' `.keras`: layers by their names in JSON, weights in HDF5."""
    with subject.open() as file, opened(file, subject.size) as archive:
        names = {member.filename: member for member in archive.infolist()}
        if "config.json" not in names:
            raise Damaged("it is no Keras model: it has no config.json")
        yield from keras.config(content(archive, names["config.json"], _JSON_BYTES))


def skops(subject: Subject) -> Iterator[Remark]:
    """skops' `.skops`: types by their names in JSON; the loader judges each again."""
    with subject.open() as file, opened(file, subject.size) as archive:
        names = {member.filename: member for member in archive.infolist()}
        if "schema.json" not in names:
            raise Damaged("it is no skops file: it has no schema.json")
        try:
            schema = msgspec.json.decode(content(archive, names["schema.json"], _JSON_BYTES))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Damaged(f"its schema.json cannot be read: {error}") from None
    named: dict[tuple[str, str], None] = {}
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "__class__" in value:
                named[str(value.get("__module__")), str(value["__class__"])] = None
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    for module, name in named:
        if (module, name) not in _SKOPS_OWN and kind_of(module, name) is Kind.DENIED:
            yield Remark(Risk.CODE, f"it asks for {module}.{name}")


_SKOPS_OWN = frozenset(
    {
        ("builtins", "NoneType"),
        ("numpy", "ndarray"),
        ("builtins", "type"),
        ("builtins", "function"),
        ("builtins", "bool"),
    }
)
