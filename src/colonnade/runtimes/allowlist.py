"""Which globals a pickle may name without consent: a pure decision per (module, name).

A pickle is a program: it names globals and calls them. The rule here is not "the framework's modules are safe", for
they are not. Known traps, each with a test: `numpy._core._ufunc_reconstruct` imports any module and takes any
attribute; `sklearn.utils.os` is `os`; `numpy.memmap` opens files for writing; `scipy.stats` distributions `exec` a
string of their state when they are restored; `scipy._lib._bunch` and `numpy.testing` run source text. So:

* classes pass by what they are (an array, a sparse matrix, a class that scikit-learn itself defines) and where they
  are defined, not by where they can be imported from;
* functions pass only by name, from the short lists in `security.pickle_names`; ufuncs pass as values;
* a dotted name (`os.system` under protocol 4) never passes;
* a few helpers whose own code would call or import what the pickle hands them are replaced by strict ones.

What this does not give: a hostile file may still make compiled code of the framework read out of bounds or use all
memory. It stops code of the file's choosing, it is no sandbox.
"""

from __future__ import annotations

import builtins
import collections
import copyreg
import datetime
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from colonnade.security import pickle_names
from colonnade.security.pickle_names import DENIED_PARTS, within


@dataclass(frozen=True, slots=True)
class Granted:
    """What a global stands for. `constructs`: the pickle may call it; else it may only be held as a value."""

    value: Any
    constructs: bool


class Refused(Exception):
    """The pickle names a global that is not on the list."""


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode` as protocols up to 2 use it to write bytes; other codecs are not looked up."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"_codecs.encode with the codec {encoding!r}")
    return str.encode(text, "latin1")


def _bit_generator(kind: Any = "MT19937") -> Any:
    """`numpy.random._pickle.__bit_generator_ctor`, for numpy's own bit generators only."""
    name = kind.__name__ if isinstance(kind, type) else kind
    if name not in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"):
        raise Refused(f"a random bit generator {name!r}")
    return getattr(np.random, name)()


def _random_state(kind: Any = "MT19937", ignored: object = None) -> np.random.RandomState:
    """`__randomstate_ctor` without its second argument, which numpy would call."""
    return np.random.RandomState(kind if isinstance(kind, np.random.BitGenerator) else _bit_generator(kind))


def _generator(kind: Any = "MT19937", ignored: object = None) -> np.random.Generator:
    """`__generator_ctor` without its second argument, which numpy would call."""
    return np.random.Generator(kind if isinstance(kind, np.random.BitGenerator) else _bit_generator(kind))


_FIXED: dict[tuple[str, str], Any] = {
    **{("builtins", name): getattr(builtins, name) for name in pickle_names.BUILTINS},
    **{("collections", name): getattr(collections, name) for name in pickle_names.COLLECTIONS},
    **{("datetime", name): getattr(datetime, name) for name in pickle_names.DATETIME},
    ("copyreg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]
    ("_codecs", "encode"): _latin1,
    ("numpy", "memmap"): np.ndarray,  # an array that was mapped when it was saved; the class itself opens files
    ("numpy.random._pickle", "__randomstate_ctor"): _random_state,
    ("numpy.random._pickle", "__generator_ctor"): _generator,
    ("numpy.random._pickle", "__bit_generator_ctor"): _bit_generator,
}

_NUMPY_BASES: tuple[type, ...] = (
    *(np.ndarray, np.generic, np.dtype),
    *(np.random.Generator, np.random.RandomState, np.random.BitGenerator, np.random.SeedSequence),
)


def _attribute(module: str, name: str) -> Any:
    """The global itself. Raises ImportError or AttributeError when this version of the framework lacks it."""
    return getattr(importlib.import_module(module), name)


def _numpy(module: str, name: str) -> Granted | None:
    if module != "numpy" and not within(module, pickle_names.NUMPY_MODULES):
        return None
    found = _attribute(module, name)
    if isinstance(found, np.ufunc):
        return Granted(found, constructs=False)
    if isinstance(found, type) and issubclass(found, _NUMPY_BASES) and not issubclass(found, np.memmap):
        return Granted(found, constructs=True)
    if (module, name) in pickle_names.NUMPY_RECONSTRUCTORS:
        return Granted(found, constructs=True)
    return None


def _scipy(module: str, name: str) -> Granted | None:
    if (module, name) == pickle_names.SCIPY_ASARRAY:
        return Granted(_attribute(module, name), constructs=False)
    if within(module, ("scipy.special",)):
        found = _attribute(module, name)
        return Granted(found, constructs=False) if isinstance(found, np.ufunc) else None
    if name in pickle_names.SCIPY_CLASSES.get(module, ()):
        return Granted(_attribute(module, name), constructs=True)
    if within(module, ("scipy.sparse",)) and not DENIED_PARTS.intersection(module.split(".")):
        found = _attribute(module, name)
        sparse = importlib.import_module("scipy.sparse")
        if isinstance(found, type) and issubclass(found, (sparse.spmatrix, sparse.sparray)):
            return Granted(found, constructs=True)
    return None


def _sklearn(module: str, name: str) -> Granted | None:
    if DENIED_PARTS.intersection(module.split(".")):
        return None
    if name in pickle_names.SKLEARN_VALUES.get(module, ()):
        return Granted(_attribute(module, name), constructs=False)
    found = _attribute(module, name)
    if isinstance(found, type):
        home = found.__module__
        defined_here = within(home, ("sklearn",)) and not DENIED_PARTS.intersection(home.split("."))
        return Granted(found, constructs=True) if defined_here else None
    compiled = type(found).__name__ in ("builtin_function_or_method", "cython_function_or_method")
    restores = name.startswith("__pyx_unpickle_") or (
        name == "newObj" and module.rpartition(".")[2].startswith(pickle_names.SKLEARN_SUFFIXES_OF_NEW)
    )
    return Granted(found, constructs=True) if compiled and restores else None


_POLICIES: dict[str, Callable[[str, str], Granted | None]] = {"numpy": _numpy, "scipy": _scipy, "sklearn": _sklearn}


def resolve(module: str, name: str) -> Granted:
    """What the global `module.name` of a pickle stands for.

    Raises:
        Refused: it is not on the list.
        ImportError, AttributeError: it is a framework's name that the installed version does not have.
    """
    fixed = _FIXED.get((module, name))
    if fixed is not None:
        return Granted(fixed, constructs=True)
    policy = _POLICIES.get(module.partition(".")[0])
    granted = policy(module, name) if policy is not None and "." not in name else None
    if granted is None:
        raise Refused(f"{module}.{name}")
    return granted
