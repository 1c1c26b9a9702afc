"""Pickles: what a model of scikit-learn needs passes, everything else is named, and nothing of it is run."""

from __future__ import annotations

import importlib
import io
import pickle
import pkgutil
import re
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from colonnade.errors import LoadFailed
from colonnade.runtimes import allowlist, pickles
from colonnade.security.pickle_names import DENIED_PARTS, Kind, kind_of
from colonnade.storage.scan import Risk, Verdict
from colonnade.storage.scan.pickles import demands
from colonnade.storage.scan.report import Damaged
from colonnade.storage.scan.streams import Stream

from .build import Evil, evil_pickle, risks, said, scanned

X, Y = load_iris(return_X_y=True)
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]
MODELS: dict[str, Any] = {
    "linear": LogisticRegression(max_iter=1000).fit(X, Y),
    "text labels": LogisticRegression(max_iter=1000).fit(X, WORDS),
    "object labels": LogisticRegression(max_iter=1000).fit(X, WORDS.astype(object)),
    "forest": RandomForestClassifier(5, random_state=0).fit(X, Y),
    "neighbours": KNeighborsClassifier(algorithm="kd_tree").fit(X, Y),
    "histograms": HistGradientBoostingClassifier(max_iter=3).fit(X, Y),
    "pipeline": make_pipeline(StandardScaler(), FunctionTransformer(np.tanh), LogisticRegression()).fit(X, Y),
    "texts": TfidfVectorizer().fit(["a text of words", "another text"]),
    "sparse": scipy.sparse.csr_matrix(X),
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "structure": np.zeros(3, dtype=[("a", "f8"), ("b", "O")]),
    "times": np.array(["2026-01-01"], dtype="M8[s]"),
}


def asked(content: bytes) -> list[str]:
    return list(demands(Stream(io.BytesIO(content))))


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_models_in_joblib_files_pass(tmp_path: Path, name: str, compress: Any) -> None:
    joblib.dump(MODELS[name], tmp_path / "model.joblib", compress=compress)
    report = scanned(tmp_path / "model.joblib")
    assert (report.verdict, report.scan.formats) == (Verdict.PASSED, {"pickle": 1}), report.message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", MODELS)
def test_models_in_pickles_of_every_protocol_pass(name: str, protocol: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert asked(pickle.dumps(MODELS[name], protocol)) == []


class _Calls:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


HOSTILE: dict[str, tuple[bytes, str]] = {
    "text protocol": (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
    "instance": (b"(S'true'\nios\nsystem\n.", "os.system"),
    "object": (b"(cos\nsystem\nS'true'\no.", "os.system"),
    "names from the memo": (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x04true\x85R.", "os.system"),
    "a dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x16random.mtrand.os.abort\x93)R.", "numpy.random.mtrand.os.abort"),
    "a computed name": (b"\x80\x04cbuiltins\nstr\n)R\x8c\x06system\x93.", "a global whose name it computes"),
    "a module of a module": (b"\x80\x02csklearn.utils\nos\n.", "sklearn.utils.os"),
    "python 2": (b"\x80\x02c__builtin__\neval\nU\x011\x85R.", "builtins.eval"),
    "an extension": (b"\x80\x02\x82\x01.", "the copyreg extension 1"),
    "a call of a result": (b"\x80\x02cbuiltins\nobject\n)R)R.", "a call of what it made itself"),
    "a change of a class": (b"\x80\x02csklearn.svm._classes\nSVC\n}U\x01xK\x01sb.", "a change of a class or function"),
    "a file opened for writing": (b"\x80\x02cnumpy\nmemmap\nU\x01x\x85R.", "a call of numpy.memmap"),
    "a reader of files": (b"\x80\x02cnumpy\nload\nU\x01x\x85R.", "numpy.load"),
    "a ufunc that is called": (b"\x80\x02cnumpy\nadd\nK\x01K\x01\x86R.", "a call of numpy.add"),
    "another framework": (pickle.dumps(_Calls(importlib.import_module, "os")), "importlib.import_module"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_granted_is_named(case: str) -> None:
    content, demand = HOSTILE[case]
    assert demand in asked(content)


@pytest.mark.parametrize("compress", [0, 3])
def test_code_behind_and_inside_arrays_is_found_and_not_run(tmp_path: Path, compress: int) -> None:
    marker = tmp_path / "ran"
    objects = np.empty(2, dtype=object)
    objects[1] = Evil(marker)
    hidden = {"behind": [np.arange(100_000.0), Evil(marker)], "inside": objects, "deep": {"x": [(Evil(marker),)]}}
    for name, value in hidden.items():
        path = tmp_path / f"{name}.joblib"
        joblib.dump(value, path, compress=compress)
        report = scanned(path)
        assert report.verdict is Verdict.REFUSED
        assert "posix.system" in report.message, name
        assert 'colonnade.dev/trust-code: "true"' in report.message
    assert not marker.exists()


@pytest.mark.parametrize("name", ["weights.bin", "model.dat", "vocabulary"])
def test_a_pickle_under_another_name_is_found(tmp_path: Path, name: str) -> None:
    report = scanned(tmp_path / name, evil_pickle(tmp_path / "ran"))
    assert risks(report) == {Risk.CODE}
    assert not (tmp_path / "ran").exists()


def test_bytes_that_only_begin_like_a_pickle_are_data(tmp_path: Path) -> None:
    report = scanned(tmp_path / "weights.bin", b"\x80\x04" + bytes(range(256)))
    assert report.verdict is Verdict.PASSED


@pytest.mark.parametrize("compress", [0, ("gzip", 3), ("xz", 3), 3], ids=str)
def test_a_cut_file_is_damaged_wherever_it_is_cut(tmp_path: Path, compress: Any) -> None:
    whole = tmp_path / "whole.joblib"
    joblib.dump(MODELS["linear"], whole, compress=compress)
    content = whole.read_bytes()
    for end in {0, 1, 2, 9, *range(20, len(content), max(1, len(content) // 23)), len(content) - 1}:
        report = scanned(tmp_path / "cut.joblib", content[:end])
        assert risks(report) == {Risk.DAMAGED}, end


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    joblib.dump(np.zeros(200_000_000, dtype="u1"), tmp_path / "model.joblib", compress=("gzip", 9))
    report = scanned(tmp_path / "model.joblib")
    assert risks(report) == {Risk.UNSAFE}
    assert "times its size" in said(report)


_WRAPPER = b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n"
_NDARRAY = b"U\x08subclasscnumpy\nndarray\nU\x05shapeK\x01\x85U\x05orderU\x01CU\x0aallow_mmap\x89"


def _array(make: bytes, code: bytes, size: bytes, flags: bytes, version: bytes = b"K\x03") -> bytes:
    """A wrapper of an array of one element, whose dtype says what the arguments say."""
    state = b"(" + version + b"U\x01<NNN" + size + b"J\xff\xff\xff\xff" + flags + b"t"
    dtype = b"cnumpy\ndtype\n(" + code + b"K\x00K\x01tR" + state + b"b"
    return make + b"}(" + _NDARRAY + b"U\x05dtype" + dtype + b"ub"


_HIDDEN = b"0cos\nsystem\nU\x04true\x85R."
_FLOAT, _UNSET = b"U\x02f8", b"J\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "head",
    {
        "honest": _array(_WRAPPER + b")\x81", _FLOAT, _UNSET, b"K\x00") + bytes(8),
        "made as protocol 0 makes it": _array(
            b"\x80\x02ccopyreg\n_reconstructor\n(" + _WRAPPER[2:] + b"cbuiltins\nobject\nNtR", _FLOAT, _UNSET, b"K\x00"
        )
        + bytes(8),
        "a size that numpy ignores": _array(_WRAPPER + b")\x81", _FLOAT, b"K\x64", b"K\x00") + bytes(8),
        "made by something else": _array(
            b"\x80\x02ccollections\ndefaultdict\n" + _WRAPPER[2:] + b"\x85R", _FLOAT, _UNSET, b"K\x00"
        )
        + bytes(8),
        "objects without their flag": _array(_WRAPPER + b")\x81", b"U\x02O8", _UNSET, b"K\x00") + b"N." + bytes(6),
        "another version": _array(_WRAPPER + b")\x81", _FLOAT, _UNSET, b"K\x00", b"K\x02") + bytes(8),
        "another code": _array(_WRAPPER + b")\x81", b"U\x05f8,f8", _UNSET, b"K\x00") + bytes(16),
    }.items(),
    ids=lambda item: item[0],
)
def test_no_array_hides_what_follows_it(head: tuple[str, bytes]) -> None:
    try:
        found = asked(head[1] + _HIDDEN)
    except Damaged:
        assert head[0] not in ("honest", "made as protocol 0 makes it", "a size that numpy ignores")
        return
    assert "os.system" in found


def test_false_sizes_cost_no_memory(tmp_path: Path) -> None:
    for content in (
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00",
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x00",
        b"\x80\x03T\xff\xff\xff\x7f",
    ):
        assert risks(scanned(tmp_path / "model.pkl", content)) == {Risk.DAMAGED}


def _modules_of_sklearn() -> list[str]:
    found = (each.name for each in pkgutil.walk_packages(sklearn.__path__, "sklearn."))
    return [name for name in found if not DENIED_PARTS.intersection(name.split("."))]


def test_all_that_the_loader_grants_passes_here() -> None:
    """The loader looks at the objects, the scan at their names: what the one takes, the other must not refuse."""
    modules = ["numpy", "numpy.ma", "numpy.random", "numpy.dtypes", "numpy._core.multiarray", "numpy._core.numeric"]
    modules += ["numpy.rec", "numpy.ma.core", "numpy.random._pickle", "scipy.special", "scipy.sparse"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules += _modules_of_sklearn()
        missed = []
        for module in modules:
            try:
                names = dir(importlib.import_module(module))
            except ImportError:
                continue
            for name in names:
                try:
                    granted = allowlist.resolve(module, name)
                except (allowlist.Refused, AttributeError, ImportError):
                    continue
                kind = kind_of(module, name)
                if kind is Kind.DENIED or (kind is Kind.HELD and granted.constructs and name != "memmap"):
                    missed.append((module, name))
    assert {name for _, name in missed} <= {"deprecated"}  # a decorator, which no model holds


def test_classes_of_others_do_not_pass_under_the_name_of_scikit_learn() -> None:
    dangerous = re.compile(r"Parallel|MethodType|Popen|Thread|Path$|Memory$")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in _modules_of_sklearn():
            try:
                names = dir(importlib.import_module(module))
            except ImportError:
                continue
            for name in filter(dangerous.match, names):
                assert kind_of(module, name) is Kind.DENIED, (module, name)


@given(st.binary(max_size=200))
@example(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.")
def test_any_bytes_are_a_pickle_or_damaged(content: bytes) -> None:
    try:
        asked(content)
    except Damaged:
        pass


_CODES = st.sampled_from(
    [
        *(b"N", b"]", b"}", b")", b"(", b"t", b"K\x01", b"U\x01a", b"0", b"2", b"\x85", b"\x94", b"h\x00", b"e", b"u"),
        *(b"a", b"R", b"\x81", b"b", b"s", b"\x8f", b"\x90"),
        *(b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n", b"cbuiltins\nset\n"),
    ]
)


@given(st.lists(_CODES, max_size=25))
def test_what_the_loader_takes_without_consent_the_scan_does_not_refuse(
    tmp_path_factory: pytest.TempPathFactory, codes: list[bytes]
) -> None:
    content = b"\x80\x04" + b"".join(codes) + b"."
    path = tmp_path_factory.getbasetemp() / "random.pkl"
    path.write_bytes(content)
    try:
        pickles.load(path)
    except LoadFailed:
        return
    assert asked(content) == []
