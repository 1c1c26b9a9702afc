"""Reads `.joblib`, `.pkl` and `.pickle` files without running code of the file's choosing.

`joblib.load` cannot be made safe from outside: it unpickles object arrays with a plain `pickle.load`, and follows the
file names of its oldest format. So this is an unpickler of our own over both formats. It asks `allowlist` about every
global; and because a pickle can call any object it has built, it also lets only those globals be called, restored or
given state that the list grants for it.

Source of the array format: joblib's `numpy_pickle.NumpyArrayWrapper` (since joblib 0.10): a wrapper object with
`subclass`, `shape`, `order`, `dtype` and `numpy_array_alignment_bytes`, pickled in place, with the array's bytes right
behind it in the file: one byte with the length of the padding, the padding, the data; or a nested pickle for arrays of
objects.
"""

from __future__ import annotations

import _compat_pickle
import bz2
import gzip
import lzma
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import numpy as np

from colonnade.defaults import TRUST_CODE
from colonnade.errors import LoadFailed
from colonnade.runtimes import allowlist
from colonnade.runtimes.base import framework

_OLD_JOBLIB = {
    ("joblib.numpy_pickle", "NDArrayWrapper"),
    ("joblib.numpy_pickle", "ZNDArrayWrapper"),
    ("joblib.numpy_pickle_compat", "NDArrayWrapper"),
    ("joblib.numpy_pickle_compat", "ZNDArrayWrapper"),
}


class _NotPlain(Exception):
    """The file is sound for a pickle and asks for what is not granted; the text says for what."""


class _ArrayWrapper:
    """Stands for joblib's `NumpyArrayWrapper`; the pickle sets the attributes."""

    subclass: Any
    shape: Any
    order: Any
    dtype: Any
    numpy_array_alignment_bytes: Any = None

    def read(self, file: IO[bytes]) -> np.ndarray:
        """The array that follows in the file."""
        dtype, shape, subclass = self.dtype, self.shape, self.subclass
        if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
            raise pickle.UnpicklingError("an array has no valid dtype or shape")
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise pickle.UnpicklingError(f"an array has the shape {shape!r}")
        if not (isinstance(subclass, type) and issubclass(subclass, np.ndarray)):
            raise pickle.UnpicklingError("an array has no array class")
        if dtype.hasobject:
            array = RestrictedUnpickler(file).load()
            if not isinstance(array, np.ndarray):
                raise pickle.UnpicklingError("an array of objects is something else")
            return array
        return self._read_data(file, dtype, shape).view(subclass)

    def _read_data(self, file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        if self.numpy_array_alignment_bytes is not None:
            file.read(file.read(1)[0])
        count = 1
        for size in shape:
            count *= size
        data = bytearray()
        wanted = count * dtype.itemsize
        while len(data) < wanted:  # in parts, so that a false size costs no memory that the file does not fill
            part = file.read(min(wanted - len(data), 16 << 20))
            if not part:
                raise EOFError(f"the file ends inside an array: {len(data)} of {wanted} bytes")
            data += part
        array: np.ndarray = np.frombuffer(data, dtype=dtype, count=count)
        array = array.reshape(shape[::-1]).transpose() if self.order == "F" else array.reshape(shape)
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


# The Python implementation, because the C one has no seam at the opcodes that call. It is not in the type stubs.
_Unpickler: Any = pickle._Unpickler


class RestrictedUnpickler(_Unpickler):  # type: ignore[misc]
    """Unpickles what `allowlist` grants; raises `_NotPlain` on the first thing that it does not."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._file = file
        self._constructors: list[Any] = [_ArrayWrapper]

    def find_class(self, module: str, name: str) -> Any:
        """The granted object for a global of the pickle."""
        if self.proto < 3:  # names of Python 2, as the base class maps them
            if (module, name) in _compat_pickle.NAME_MAPPING:
                module, name = _compat_pickle.NAME_MAPPING[module, name]
            else:
                module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return _ArrayWrapper
        if (module, name) in _OLD_JOBLIB:
            raise _NotPlain("arrays in separate files (joblib before 0.10); load it there and dump it again")
        granted = allowlist.resolve(module, name)
        if granted.constructs:
            self._constructors.append(granted.value)
        return granted.value

    def get_extension(self, code: int) -> None:
        raise _NotPlain(f"the copyreg extension {code}")

    def _require_constructor(self, called: Any) -> None:
        if not any(called is known for known in self._constructors):
            raise _NotPlain(f"a call of {getattr(called, '__name__', 'an object')}")

    def _instantiate(self, klass: Any, args: Any) -> None:
        self._require_constructor(klass)
        super()._instantiate(klass, args)

    def load_reduce(self) -> None:
        self._require_constructor(self.stack[-2])
        super().load_reduce()

    def load_newobj(self) -> None:
        self._require_class(self.stack[-2])
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        self._require_class(self.stack[-3])
        super().load_newobj_ex()

    def _require_class(self, called: Any) -> None:
        self._require_constructor(called)
        if not isinstance(called, type):
            raise _NotPlain(f"an instance of {getattr(called, '__name__', 'an object')}, which is no class")

    def load_build(self) -> None:
        target = self.stack[-2]
        if isinstance(target, (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.ufunc)):
            raise _NotPlain("a change of a class or function")
        own = getattr(target, "__dict__", {})
        if "__setstate__" in own or (hasattr(target, "__setstate__") and not hasattr(type(target), "__setstate__")):
            raise _NotPlain("an object that brings its own __setstate__")
        super().load_build()
        if isinstance(target, _ArrayWrapper):
            self.stack[-1] = target.read(self._file)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex


def _lz4(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", framework("lz4.frame", None, "lz4").LZ4FrameFile(file))


def _lzma(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", lzma.LZMAFile(file))


def _zlib(file: IO[bytes]) -> IO[bytes]:
    from joblib.compressor import BinaryZlibFile

    return cast("IO[bytes]", BinaryZlibFile(file, mode="rb"))


# First bytes of the compressions that joblib writes -> reader. A pickle starts with b"\x80" or an ASCII opcode.
_COMPRESSIONS: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (
    (b"\x1f\x8b", lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file))),
    (b"BZ", lambda file: cast("IO[bytes]", bz2.BZ2File(file))),
    (b"\xfd7zXZ", _lzma),
    (b"\x5d\x00", _lzma),
    (b"\x04\x22\x4d\x18", _lz4),
    (b"\x78", _zlib),
)


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    head = file.read(8)
    file.seek(0)
    return next((reader(file) for magic, reader in _COMPRESSIONS if head.startswith(magic)), file)


def refusal(path: Path, what: str) -> LoadFailed:
    """The one message for a file that needs consent, whatever its format."""
    return LoadFailed(
        f"{path} asks for {what}, which is not on the list of what a scikit-learn model may use without consent. "
        f'If you trust who made this file, consent with the annotation {TRUST_CODE}: "true" or with --trust-code: '
        "its code then runs with the rights of this process"
    )


def load(path: Path) -> Any:
    """The object in a pickle or joblib file, by the allow-list.

    Raises:
        LoadFailed: the file asks for a global that is not granted (names it and the way to consent), needs another
            version of a framework, or is damaged.
    """
    try:
        with path.open("rb") as raw:
            return RestrictedUnpickler(_decompressed(raw)).load()
    except (allowlist.Refused, _NotPlain) as error:
        raise refusal(path, str(error)) from None
    except (ImportError, AttributeError) as error:
        raise LoadFailed(
            f"{path} needs what the installed version of its framework does not have ({error}); "
            "install the version that saved it, or save it again with this one"
        ) from error
    except Exception as error:  # damaged bytes may raise anything, in the unpickler or in a class that gets bad state
        raise LoadFailed(f"{path} cannot be read as a pickle or joblib file: {error}; save it again") from error
