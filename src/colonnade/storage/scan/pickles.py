"""Walks a pickle without running it: every opcode is followed, and what it would import, call or restore is noted.

The walk is `pickle`'s own machine with its hands tied: globals become names, calls become notes of what was called. So
a name that is put together on the stack, fetched from the memo or hidden behind a raw array is seen as the real
unpickler would see it. Arrays of joblib lie in the middle of the file and are passed over by their stated size; that
format is described in `runtimes.pickles`.
"""

from __future__ import annotations

import _compat_pickle
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

from colonnade.security.pickle_names import Kind, kind_of
from colonnade.storage.scan.report import Damaged
from colonnade.storage.scan.streams import Bomb, Stream

Decide = Callable[[str, str], Kind]

_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_OLD_JOBLIB = frozenset(
    (module, name)
    for module in ("joblib.numpy_pickle", "joblib.numpy_pickle_compat")
    for name in ("NDArrayWrapper", "ZNDArrayWrapper")
)
_DTYPE = ("numpy", "dtype")
_DTYPE_CODE = re.compile(r"[biufcmMSUVO](\d{1,9})")
_RECONSTRUCTOR = ("copyreg", "_reconstructor")  # how protocols 0 and 1 make an instance: of its first argument
_KEPT_ITEMS = 64  # of a dictionary: enough for the state of an array's wrapper
_KEPT_BYTES = 1 << 16
_MOST_DEMANDS = 100
_NESTED = 8


class Name(NamedTuple):
    """A global that the pickle names."""

    module: str
    name: str


class Made:
    """What a call in the pickle would have made."""

    __slots__ = ("args", "of", "state")

    def __init__(self, of: Any, args: Any) -> None:
        self.of = of
        self.args = args
        self.state: Any = None


class _Large:
    """Stands for bytes or text too long to be a name or a shape."""


_Unpickler: Any = pickle._Unpickler  # the Python implementation has a seam at each opcode; it is not in the type stubs


class _Walker(_Unpickler):  # type: ignore[misc]
    """One pickle of a stream."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(self, stream: Stream, decide: Decide, *, persistent: bool, depth: int = 0) -> None:
        super().__init__(stream)
        self._stream = stream
        self._decide = decide
        self._persistent = persistent
        self._depth = depth
        self.demands: dict[str, None] = {}  # ordered

    def demand(self, what: str) -> None:
        """Note something that needs consent."""
        self.demands[what] = None
        if len(self.demands) > _MOST_DEMANDS:
            raise _Enough

    def find_class(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            self.demand("a global whose name it computes")
            return Name("", "")
        if self.proto < 3:  # names of Python 2, as the base class maps them
            module, name = _renamed(module, name)
        if (module, name) in _OLD_JOBLIB:
            self.demand("arrays in separate files (joblib before 0.10)")
        elif (module, name) != _WRAPPER and self._decide(module, name) is Kind.DENIED:
            self.demand(f"{module}.{name}")
        return Name(module, name)

    def load_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.append(self.find_class(module, name))

    def persistent_load(self, pid: Any) -> Any:
        if not self._persistent:
            raise Damaged("it refers to objects outside of it")
        return Made(None, pid)

    def get_extension(self, code: int) -> None:
        self.demand(f"the copyreg extension {code}")
        self.append(Made(None, ()))

    def _call(self, called: Any, args: Any) -> Made:
        if not isinstance(called, Name):
            self.demand("a call of what it made itself")
        elif (called.module, called.name) != _WRAPPER and self._decide(*called) is Kind.HELD:
            self.demand(f"a call of {called.module}.{called.name}")
        given = args if isinstance(args, tuple) else ()
        if called == _RECONSTRUCTOR and given and isinstance(given[0], Name):
            return Made(given[0], args)
        if _WRAPPER in given:
            raise Damaged("it makes an array in a way that is not known")
        return Made(called, args)

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._call(klass, args))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Name):
            self.demand("a change of a class or function")
        if not isinstance(target, Made):
            return
        target.state = state if isinstance(state, (dict, tuple)) else None
        if target.of == _WRAPPER:
            self._pass_array(target)

    def load_append(self) -> None:
        self.stack.pop()

    def load_appends(self) -> None:
        self.pop_mark()

    def load_additems(self) -> None:
        self.pop_mark()

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._keep(key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=False):
            self._keep(key, value)

    def _keep(self, key: Any, value: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, dict) and isinstance(key, str) and len(target) < _KEPT_ITEMS:
            target[key] = value

    def _pass_long(self, size: int) -> None:
        if self._unframer.current_frame is None:
            self._stream.skip(size, "a value")
            self.append(_Large())
            return
        left = size
        while left:
            part = self.read(min(left, _KEPT_BYTES))
            if not part:
                raise Damaged(f"it ends inside a value: {size - left} of {size} bytes are there")
            left -= len(part)
        self.append(_Large())

    def _long_or(self, base: Callable[[Any], None], width: int) -> None:
        """A value with its length in `width` bytes before it: kept if it is short, else passed over."""
        head = self.read(width)
        size = int.from_bytes(head, "little")
        if size > _KEPT_BYTES:
            self._pass_long(size)
            return
        taken: Callable[[int], bytes] = self.read
        self.read: Callable[[int], bytes] = _first(head, taken)
        try:
            base(self)
        finally:
            self.read = taken

    def _pass_array(self, wrapper: Made) -> None:
        """Passes over the array of a wrapper, which lies right behind it in the file."""
        state = wrapper.state if isinstance(wrapper.state, dict) else {}
        size, objects = _item(state.get("dtype"))
        shape = state.get("shape")
        if not isinstance(shape, tuple) or not all(isinstance(each, int) and each >= 0 for each in shape):
            raise Damaged("an array has no valid shape")
        if objects:
            if self._depth == _NESTED:
                raise Damaged("arrays of objects lie in each other too deeply")
            inner = _Walker(self._stream, self._decide, persistent=False, depth=self._depth + 1)
            try:
                inner.load()
            finally:
                for each in inner.demands:
                    self.demand(each)
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self._stream.read(1)
            self._stream.skip(padding[0] if padding else 1, "an array")
        for each in shape:
            size *= each
        self._stream.skip(size, "an array")

    for code, width in (
        (pickle.BINUNICODE, 4),
        (pickle.BINUNICODE8, 8),
        (pickle.BINBYTES, 4),
        (pickle.BINBYTES8, 8),
        (pickle.BYTEARRAY8, 8),
        (pickle.BINSTRING, 4),
        (pickle.LONG4, 4),
    ):
        dispatch[code[0]] = lambda self, base=_Unpickler.dispatch[code[0]], width=width: self._long_or(base, width)
    del code, width

    dispatch[pickle.STACK_GLOBAL[0]] = load_stack_global
    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.APPEND[0]] = load_append
    dispatch[pickle.APPENDS[0]] = load_appends
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


class _Enough(Exception):
    """There is so much to find that the rest does not matter."""


def _first(head: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A reader that gives `head` once and then goes on."""
    pending = [head]

    def reader(size: int) -> bytes:
        return pending.pop() if pending else read(size)

    return reader


def _renamed(module: str, name: str) -> tuple[str, str]:
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _item(dtype: Any) -> tuple[int, bool]:
    """(bytes of an element, whether elements are objects) of a pickled `numpy.dtype`.

    Its arguments are a code such as `f8`; its state is `(version, byte order, sub-array, names, fields, size,
    alignment, flags ...)`. Bit 0 of the flags: it holds objects. numpy takes the size from the state for text and
    structures alone. What numpy could read otherwise than it is read here is refused: a file could hide a call in bytes
    that one takes for an array and the other does not.
    """
    if not isinstance(dtype, Made) or dtype.of != _DTYPE or not isinstance(dtype.args, tuple) or not dtype.args:
        raise Damaged("an array has no valid dtype")
    code, state = dtype.args[0], dtype.state
    known = _DTYPE_CODE.fullmatch(code) if isinstance(code, str) else None
    if known is None:
        raise Damaged(f"an array has the unknown dtype {str(code)[:20]!r}")
    if not isinstance(state, tuple) or len(state) < 8 or state[0] not in (3, 4):
        raise Damaged(f"an array has the dtype {code!r} in a form that is not known")
    size, flags = state[5], state[7]
    if not isinstance(size, int) or not isinstance(flags, int) or (code[0] == "O" and not flags & 1):
        raise Damaged(f"an array has the dtype {code!r} in a form that is not known")
    if flags & 1:
        return 0, True
    if code[0] not in "SUV":
        return int(known[1]), False
    if size < 0:
        raise Damaged(f"an array has the dtype {code!r} of no size")
    return size, False


def demands(stream: Stream, decide: Decide = kind_of, *, persistent: bool = False, count: int = 1) -> Iterator[str]:
    """What `count` pickles, one behind the other, ask for that is not granted: globals by their names, and calls.

    Args:
        decide: what may be named.
        persistent: objects outside of the pickle may be referred to, as PyTorch does with its storages.

    Raises:
        Damaged: it is no pickle, or ends too early; what was asked for before that has been given.
    """
    for _ in range(count):
        walker = _Walker(stream, decide, persistent=persistent)
        try:
            walker.load()
        except _Enough:
            pass
        except (Damaged, Bomb):
            yield from walker.demands
            raise
        except Exception as error:  # bytes that are no pickle may raise anything in the machine
            yield from walker.demands
            raise Damaged(f"it is no complete pickle: {type(error).__name__} {error}".rstrip()) from error
        yield from walker.demands
