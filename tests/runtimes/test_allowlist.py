"""Pickles that would run something: refused by name, and the thing does not run."""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import ctypes
import functools
import operator
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from colonnade.errors import LoadFailed
from colonnade.runtimes import pickles
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.sklearn import SklearnRuntime


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def raw(module: str, name: str, *args: str, protocol: int = 4) -> bytes:
    """A pickle that calls the global `module.name` with texts, written by hand so that no name has to exist."""
    out = bytearray(pickle.PROTO + bytes([protocol]))
    if protocol >= 4:
        for text in (module, name):
            out += pickle.BINUNICODE + len(text.encode()).to_bytes(4, "little") + text.encode()
        out += pickle.STACK_GLOBAL
    else:
        out += pickle.GLOBAL + f"{module}\n{name}\n".encode()
    out += pickle.MARK
    for text in args:
        out += pickle.BINUNICODE + len(text.encode()).to_bytes(4, "little") + text.encode()
    return bytes(out + pickle.TUPLE + pickle.REDUCE + pickle.STOP)


def refused(path: Path, data: bytes, proof: Path) -> str:
    path.write_bytes(data)
    with pytest.raises(LoadFailed) as caught:
        pickles.load(path)
    assert not proof.exists(), "the payload ran"
    return caught.value.message


OBJECTS: dict[str, Callable[[str], Any]] = {
    "os.system": lambda command: Calls(os.system, command),
    "subprocess.Popen": lambda command: Calls(subprocess.Popen, ["sh", "-c", command]),
    "builtins.eval": lambda command: Calls(eval, f"__import__('os').system({command!r})"),
    "builtins.exec": lambda command: Calls(exec, f"__import__('os').system({command!r})"),
    "builtins.getattr": lambda command: Calls(getattr, dict, "get"),
    "builtins.__import__": lambda command: Calls(builtins.__import__, "antigravity"),
    "builtins.open": lambda command: Calls(open, command.split()[-1], "w"),
    "operator.attrgetter": lambda command: Calls(operator.attrgetter, "os.system"),
    "operator.methodcaller": lambda command: Calls(operator.methodcaller, "system", command),
    "functools.partial": lambda command: Calls(functools.partial, os.system, command),
    "ctypes.CDLL": lambda command: Calls(ctypes.CDLL, None),
    "copyreg.add_extension": lambda command: Calls(copyreg.add_extension, "os", "system", 240),
    "joblib.load": lambda command: Calls(joblib.load, "/etc/passwd"),
    "numpy.load": lambda command: Calls(np.load, "/etc/passwd", None, True),
    "pickle.loads": lambda command: Calls(pickle.loads, pickle.dumps(Calls(os.system, command))),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("case", OBJECTS)
def test_a_call_of_what_is_not_listed_is_refused_and_does_not_run(tmp_path: Path, case: str, protocol: int) -> None:
    proof = tmp_path / "proof"
    message = refused(tmp_path / "model.pkl", pickle.dumps(OBJECTS[case](f"touch {proof}"), protocol=protocol), proof)
    assert str(tmp_path / "model.pkl") in message
    assert 'colonnade.dev/trust-code: "true"' in message
    assert "--trust-code" in message


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"),
        ("nt", "system"),
        ("sklearn.utils", "os.system"),
        ("sklearn.datasets._base", "os.system"),
        ("sklearn", "_os.system"),
        ("sklearn.utils._testing", "check_output"),
        ("sklearn.utils._testing", "assert_run_python_script_without_output"),
        ("sklearn.utils.parallel", "Parallel"),
        ("sklearn.utils.discovery", "import_module"),
        ("sklearn.utils._set_output", "check_library_installed"),
        ("sklearn.datasets._base", "load_files"),
        ("sklearn.datasets", "fetch_openml"),
        ("sklearn.externals.joblib", "load"),
        ("sklearn", "__getattr__"),
        ("sklearn.tree._export", "export_graphviz"),
        ("numpy", "memmap.__new__"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "save"),
        ("numpy", "vectorize"),
        ("numpy", "DataSource"),
        ("numpy.lib.npyio", "NpzFile"),
        ("numpy._core._internal", "_ctypes"),
        ("numpy._core", "_ufunc_reconstruct"),
        ("numpy.core", "_ufunc_reconstruct"),
        ("numpy.f2py", "compile"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.testing", "runstring"),
        ("numpy.distutils.exec_command", "exec_command"),
        ("numpy.ctypeslib", "load_library"),
        ("scipy.io", "loadmat"),
        ("scipy._lib._bunch", "_make_tuple_bunch"),
        ("scipy._lib._ccallback", "LowLevelCallable"),
        ("scipy.optimize._nonlin", "_nonlin_wrapper"),
        ("scipy.stats._distn_infrastructure", "rv_continuous"),
        ("scipy.stats", "rv_histogram"),
        ("joblib.parallel", "Parallel"),
        ("joblib.memory", "Memory"),
        ("joblib._store_backends", "FileSystemStoreBackend"),
        ("pandas", "read_pickle"),
        ("types", "CodeType"),
        ("types", "FunctionType"),
        ("types", "MethodType"),
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("shutil", "rmtree"),
        ("webbrowser", "open"),
        ("colonnade.runtimes.pickles", "load"),
        ("__main__", "anything"),
        ("builtins", "type"),
        ("builtins", "memoryview"),
        ("builtins", "breakpoint"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_global_that_is_not_listed_is_refused_by_name(tmp_path: Path, module: str, name: str, protocol: int) -> None:
    proof = tmp_path / "proof"
    message = refused(tmp_path / "m.joblib", raw(module, name, f"touch {proof}", protocol=protocol), proof)
    assert "not on the list" in message or "does not have" in message
    if "not on the list" in message and protocol == 4:
        assert f"{module}.{name}" in message


def test_names_of_python_2_are_mapped_before_they_are_judged(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    message = refused(tmp_path / "m.pkl", raw("__builtin__", "eval", "1", protocol=2), proof)
    assert "builtins.eval" in message


def test_a_distribution_of_scipy_that_would_execute_its_state_is_refused(tmp_path: Path) -> None:
    from scipy import stats

    proof = tmp_path / "proof"
    distribution = stats._continuous_distns.norm_gen(name="norm")
    distribution._parse_arg_template = f"import os; os.system('touch {proof}')"
    data = pickle.dumps(distribution)
    assert "stats" in refused(tmp_path / "m.pkl", data, proof)


def test_objects_inside_a_joblib_array_are_judged_too(tmp_path: Path) -> None:
    """`joblib.load` reads these with a plain `pickle.load`, whatever unpickler is outside."""
    proof = tmp_path / "proof"
    path = tmp_path / "m.joblib"
    array = np.empty(2, dtype=object)
    array[0] = Calls(os.system, f"touch {proof}")
    joblib.dump({"weights": array}, path)
    assert "system" in refused(path, path.read_bytes(), proof)


@pytest.mark.parametrize("compress", [("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_compression_hides_nothing(tmp_path: Path, compress: tuple[str, int]) -> None:
    proof = tmp_path / "proof"
    path = tmp_path / "m.joblib"
    joblib.dump(Calls(os.system, f"touch {proof}"), path, compress=compress)
    assert "system" in refused(path, path.read_bytes(), proof)


def test_joblibs_oldest_arrays_are_refused_because_they_read_other_files(tmp_path: Path) -> None:
    message = refused(tmp_path / "m.joblib", raw("joblib.numpy_pickle", "NDArrayWrapper", "x"), tmp_path / "proof")
    assert "joblib before 0.10" in message


def build(target: bytes, state: bytes) -> bytes:
    return pickle.PROTO + b"\x04" + target + state + pickle.BUILD + pickle.STOP


def pushed(value: Any) -> bytes:
    """The opcodes that push a value."""
    return pickle.dumps(value, protocol=2)[2:-1]


@pytest.mark.parametrize(
    "target", [b"csklearn.utils._bunch\nBunch\n", b"csklearn.svm._classes\nSVC\n", b"cnumpy\nlog1p\n"]
)
def test_state_may_not_be_set_on_a_class_or_a_function(tmp_path: Path, target: bytes) -> None:
    data = build(target, pushed((None, {"predict": 1})))
    assert "a change of a class or function" in refused(tmp_path / "m.pkl", data, tmp_path / "proof")


def test_an_object_may_not_bring_its_own_setstate(tmp_path: Path) -> None:
    estimator = b"csklearn.model_selection._split\nKFold\n)\x81"
    setter = (
        estimator + pickle.MARK + b"X\x0c\x00\x00\x00__setstate__" + b"cnumpy\nlog1p\n" + pickle.DICT + pickle.BUILD
    )
    data = build(setter, pushed({"a": 1}))
    assert "own __setstate__" in refused(tmp_path / "m.pkl", data, tmp_path / "proof")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04cnumpy\nlog1p\nK\x01\x85R.",  # a ufunc is a value
        b"\x80\x04csklearn.utils._bunch\nBunch\n)\x81K\x01\x85R.",  # an instance is no class
        b"\x80\x04csklearn.utils._bunch\nBunch\n)\x81)\x81.",  # nor may it be instantiated
        b"\x80\x02(csklearn.metrics._regression\nr2_score\nK\x01o.",  # OBJ on a function
    ],
)
def test_only_what_the_list_grants_may_be_called(tmp_path: Path, data: bytes) -> None:
    assert "a call of" in refused(tmp_path / "m.pkl", data, tmp_path / "proof")


def test_numpys_random_helpers_do_not_call_what_they_are_given(tmp_path: Path) -> None:
    data = (
        b"\x80\x04cnumpy.random._pickle\n__randomstate_ctor\n"
        + pushed("MT19937")
        + b"csklearn.utils._bunch\nBunch\n"
        + b"\x86R."
    )
    path = tmp_path / "m.pkl"
    path.write_bytes(data)
    assert isinstance(pickles.load(path), np.random.RandomState)
    message = refused(path, raw("numpy.random._pickle", "__bit_generator_ctor", "os"), tmp_path / "proof")
    assert "random bit generator 'os'" in message


def test_a_mapped_array_comes_back_as_a_plain_one(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "data", dtype="f8", mode="w+", shape=(4,))
    mapped[:] = range(4)
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(mapped))
    loaded = pickles.load(path)
    assert type(loaded) is np.ndarray
    assert loaded.tolist() == [0, 1, 2, 3]


def test_a_class_of_the_users_own_is_refused_and_loads_with_consent(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(Own(), path)
    with pytest.raises(LoadFailed, match=r"test_allowlist\.Own, which is not on the list"):
        SklearnRuntime().load("m", path, LoadOptions(env={}))
    model = SklearnRuntime().load("m", path, LoadOptions(trust_code=True, env={}))
    assert model.predict(np.zeros((2, 3))).tolist() == [7, 7]


class Own(BaseEstimator):
    """An estimator that scikit-learn does not define."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.full(len(rows), 7)


@pytest.mark.parametrize("keep", [0, 1, 2, 10, 0.3, 0.6, 0.99])
def test_a_truncated_file_says_so(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump({"a": np.arange(100_000), "b": Bunch(c=1)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(LoadFailed, match="cannot be read as a pickle"):
        pickles.load(path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_an_object_or_a_clear_failure(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, framed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes((b"\x80\x04" if framed else b"") + data)
    with contextlib.suppress(LoadFailed):
        pickles.load(path)
