"""Which globals a pickle may name without consent: a pure decision per (module, name).

A pickle is a program: it names globals and calls them. The rule here is not "the framework's modules are safe", for
they are not. Known traps, each with a test: `numpy._core._ufunc_reconstruct` imports any module and takes any
attribute; `sklearn.utils.os` is `os`; `numpy.memmap` opens files for writing; `scipy.stats` distributions `exec` a
string of their state when they are restored; `scipy._lib._bunch` and `numpy.testing` run source text. So:

* classes pass by what they are (an array, a sparse matrix, a class that scikit-learn itself defines) and where they
  are defined, not by where they can be imported from;
* functions pass only by name, from the short lists below; ufuncs pass as values;
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


@dataclass(frozen=True, slots=True)
class Granted:
    """What a global stands for. `constructs`: the pickle may call it; else it may only be held as a value."""

    value: Any
    constructs: bool


class Refused(Exception):
    """The pickle names a global that is not on the list."""


# Modules whose classes are not data: they start processes, open files, fetch, or run text. Parts of a module path.
_DENIED_PARTS = frozenset(
    {"tests", "conftest", "datasets", "externals", "callback", "discovery", "parallel", "experimental"}
    | {"_testing", "_mocking", "_build_utils", "__check_build", "_repr_html", "_array_api", "fixes", "validation"}
)

_BUILTINS = (
    *("set", "frozenset", "slice", "range", "complex", "bytearray", "list", "dict", "tuple"),
    *("int", "float", "str", "bool", "bytes", "object"),
)

_COLLECTIONS = ("OrderedDict", "defaultdict", "deque", "Counter")

_SCIPY_CLASSES = {
    "scipy.interpolate._bsplines": {"BSpline"},
    "scipy.interpolate._interpolate": {"PPoly", "interp1d"},
    "scipy.spatial._ckdtree": {"cKDTree"},
    "scipy.spatial._kdtree": {"KDTree"},
}

# Functions that estimators hold as parameters. All compute numbers from arrays; none takes a callable or a path to run.
_SKLEARN_VALUES = {
    "sklearn.cluster._kmeans": {"_kmeans_single_lloyd", "_kmeans_single_elkan"},  # BisectingKMeans holds one
    "sklearn.feature_selection._univariate_selection": {
        "f_classif",
        "f_regression",
        "f_oneway",
        "chi2",
        "r_regression",
    },
    "sklearn.feature_selection._mutual_info": {"mutual_info_classif", "mutual_info_regression"},
    "sklearn.feature_extraction.text": {"strip_accents_unicode", "strip_accents_ascii", "strip_tags"},
    "sklearn.metrics._classification": {
        *("accuracy_score", "balanced_accuracy_score", "f1_score", "fbeta_score", "log_loss", "matthews_corrcoef"),
        *("precision_score", "recall_score", "jaccard_score", "brier_score_loss", "cohen_kappa_score"),
    },
    "sklearn.metrics._ranking": {"roc_auc_score", "average_precision_score", "top_k_accuracy_score"},
    "sklearn.metrics._regression": {
        *("r2_score", "mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "max_error"),
        *("mean_squared_log_error", "median_absolute_error", "mean_absolute_percentage_error"),
        *("explained_variance_score", "mean_pinball_loss", "mean_poisson_deviance", "mean_gamma_deviance"),
    },
    "sklearn.metrics.pairwise": {
        *(
            "linear_kernel",
            "polynomial_kernel",
            "rbf_kernel",
            "laplacian_kernel",
            "sigmoid_kernel",
            "cosine_similarity",
        ),
        *("chi2_kernel", "additive_chi2_kernel", "euclidean_distances", "manhattan_distances", "cosine_distances"),
    },
}

_SKLEARN_SUFFIXES_OF_NEW = ("_dist_metrics", "_kd_tree", "_ball_tree")  # modules with Cython's `newObj(cls)`


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
    **{("builtins", name): getattr(builtins, name) for name in _BUILTINS},
    **{("collections", name): getattr(collections, name) for name in _COLLECTIONS},
    **{("datetime", name): getattr(datetime, name) for name in ("date", "datetime", "time", "timedelta")},
    ("copyreg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]
    ("_codecs", "encode"): _latin1,
    ("numpy", "memmap"): np.ndarray,  # an array that was mapped when it was saved; the class itself opens files
    ("numpy.random._pickle", "__randomstate_ctor"): _random_state,
    ("numpy.random._pickle", "__generator_ctor"): _generator,
    ("numpy.random._pickle", "__bit_generator_ctor"): _bit_generator,
}

_NUMPY_MODULES = (
    "numpy.core",
    "numpy._core",
    "numpy.random",
    "numpy.ma",
    "numpy.matrixlib",
    "numpy.dtypes",
    "numpy.rec",
)
_NUMPY_RECONSTRUCTORS = frozenset(
    {
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
        ("numpy.ma.core", "_mareconstruct"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    }
)
_NUMPY_BASES: tuple[type, ...] = (
    *(np.ndarray, np.generic, np.dtype),
    *(np.random.Generator, np.random.RandomState, np.random.BitGenerator, np.random.SeedSequence),
)


def _within(module: str, roots: tuple[str, ...]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def _attribute(module: str, name: str) -> Any:
    """The global itself. Raises ImportError or AttributeError when this version of the framework lacks it."""
    return getattr(importlib.import_module(module), name)


def _numpy(module: str, name: str) -> Granted | None:
    if module != "numpy" and not _within(module, _NUMPY_MODULES):
        return None
    found = _attribute(module, name)
    if isinstance(found, np.ufunc):
        return Granted(found, constructs=False)
    if isinstance(found, type) and issubclass(found, _NUMPY_BASES) and not issubclass(found, np.memmap):
        return Granted(found, constructs=True)
    if (module, name) in _NUMPY_RECONSTRUCTORS:
        return Granted(found, constructs=True)
    return None


def _scipy(module: str, name: str) -> Granted | None:
    if (module, name) == ("scipy._lib.array_api_compat.numpy._aliases", "asarray"):  # BSpline holds it
        return Granted(_attribute(module, name), constructs=False)
    if _within(module, ("scipy.special",)):
        found = _attribute(module, name)
        return Granted(found, constructs=False) if isinstance(found, np.ufunc) else None
    if name in _SCIPY_CLASSES.get(module, ()):
        return Granted(_attribute(module, name), constructs=True)
    if _within(module, ("scipy.sparse",)) and not _DENIED_PARTS.intersection(module.split(".")):
        found = _attribute(module, name)
        sparse = importlib.import_module("scipy.sparse")
        if isinstance(found, type) and issubclass(found, (sparse.spmatrix, sparse.sparray)):
            return Granted(found, constructs=True)
    return None


def _sklearn(module: str, name: str) -> Granted | None:
    if _DENIED_PARTS.intersection(module.split(".")):
        return None
    if name in _SKLEARN_VALUES.get(module, ()):
        return Granted(_attribute(module, name), constructs=False)
    found = _attribute(module, name)
    if isinstance(found, type):
        home = found.__module__
        defined_here = _within(home, ("sklearn",)) and not _DENIED_PARTS.intersection(home.split("."))
        return Granted(found, constructs=True) if defined_here else None
    compiled = type(found).__name__ in ("builtin_function_or_method", "cython_function_or_method")
    restores = name.startswith("__pyx_unpickle_") or (
        name == "newObj" and module.rpartition(".")[2].startswith(_SKLEARN_SUFFIXES_OF_NEW)
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
