"""Every other format: honest files pass, cut ones are damaged wherever they are cut, and code is named."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx.helper
import pytest
import xgboost
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from colonnade.storage.scan import Risk, Verdict, examine

from . import build
from .build import Evil, risks, said, scanned

X, Y = load_iris(return_X_y=True)


def _onnx() -> bytes:
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 1], np.ones(4, dtype="f4").tobytes(), raw=True)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 4])]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 1])]
    made: bytes = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", inputs, outputs, [weights])
    ).SerializeToString()
    return made


def _booster(suffix: str) -> Callable[[], bytes]:
    return lambda: bytes(xgboost.train({}, xgboost.DMatrix(X, Y), 3).save_raw(suffix))


def _lightgbm() -> bytes:
    text: str = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, Y), 3).model_to_string()
    return text.encode()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(300.0).reshape(3, 100))
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.arange(300.0), b=np.array(["text"]))
    return file.getvalue()


def _skops() -> bytes:
    import skops.io

    made: bytes = skops.io.dumps(LogisticRegression(max_iter=1000).fit(X, Y))
    return made


SAFETENSORS = build.safetensors(
    {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
    },
    bytes(22),
)
KERAS = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {
                    "kernel_initializer": {
                        "module": "keras.initializers",
                        "class_name": "GlorotUniform",
                        "config": {},
                        "registered_name": None,
                    }
                },
            },
            {"module": "keras.src.models.functional", "class_name": "Functional", "config": {}},
        ]
    },
}
PMML = b"<?xml version='1.0'?><PMML xmlns='x' version='4.4'><Header/><TreeModel functionName='regression'/></PMML>"
HONEST: dict[str, tuple[str, Callable[[], bytes]]] = {
    "safetensors": ("model.safetensors", lambda: SAFETENSORS),
    "onnx": ("model.onnx", _onnx),
    "json": ("model.json", _booster("json")),
    "ubjson": ("model.ubj", _booster("ubj")),
    "lightgbm": ("model.bst", _lightgbm),
    "xml": ("model.pmml", lambda: PMML),
    "npy": ("weights.npy", _npy),
    "npz": ("weights.npz", _npz),
    "skops": ("model.skops", _skops),
    "torch": ("model.pt", lambda: build.zipped({"m/data.pkl": build.torch_pickle(), "m/data/0": bytes(16)})),
    "keras": (
        "model.keras",
        lambda: build.zipped({"config.json": json.dumps(KERAS).encode()}),
    ),
    "savedmodel": ("saved_model.pb", lambda: build.saved_model("MatMul", "Const", functions=("Relu",))),
    "hdf5": ("weights.h5", lambda: build.hdf5(96, bytes(48))),
    "zip": ("extra.zip", lambda: build.zipped({"a.txt": b"text"})),
}
_CUT_ANYWHERE = (
    "safetensors",
    "json",
    "ubjson",
    "xml",
    "npy",
    "npz",
    "skops",
    "torch",
    "keras",
    "hdf5",
    "zip",
    "lightgbm",
)


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_file_passes(tmp_path: Path, kind: str) -> None:
    name, make = HONEST[kind]
    report = scanned(tmp_path / name, make())
    assert (report.verdict, report.scan.formats, report.scan.findings) == (Verdict.PASSED, {kind: 1}, ())


@pytest.mark.parametrize("kind", HONEST)
def test_a_cut_file_is_damaged(tmp_path: Path, kind: str) -> None:
    name, make = HONEST[kind]
    content = make()
    step = max(1, len(content) // 29)
    ends = [0, 1, *range(2, len(content) - 1, step), len(content) - 1]
    if kind in ("onnx", "savedmodel"):  # a message may end wherever a field does
        ends = [1, len(content) // 2, len(content) - 1]
    if kind == "lightgbm":  # what follows the trees is only written to be read by people
        ends = [end for end in ends if end < content.index(b"end of trees")]
    for end in ends:
        if kind == "lightgbm" and end < 5:
            continue  # so short that nothing tells what it was to be
        report = scanned(tmp_path / "cut" / name, content[:end])
        assert Risk.DAMAGED in risks(report), (end, report.scan)


WRONG_SAFETENSORS = {
    "a gap": ({"a": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}, bytes(4)),
    "an overlap": (
        {
            "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
            "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]},
        },
        bytes(6),
    ),
    "another size": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    "a negative size": ({"a": {"dtype": "U8", "shape": [-2, -2], "data_offsets": [0, 4]}}, bytes(4)),
    "more data": ({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}, bytes(9)),
    "no entry": ({"a": [1]}, b""),
}


@pytest.mark.parametrize("case", WRONG_SAFETENSORS)
def test_a_header_of_safetensors_that_contradicts_the_file_is_damaged(tmp_path: Path, case: str) -> None:
    header, data = WRONG_SAFETENSORS[case]
    assert risks(scanned(tmp_path / "m.safetensors", build.safetensors(header, data))) == {Risk.DAMAGED}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("location", "length", "risk"),
    [
        ("weights.bin", 8, None),
        ("weights.bin", 9, Risk.DAMAGED),
        ("missing.bin", 8, Risk.DAMAGED),
        ("../secret", 1, Risk.UNSAFE),
        ("/etc/passwd", 1, Risk.UNSAFE),
        ("a/../../secret", 1, Risk.UNSAFE),
        ("..\\secret", 1, Risk.UNSAFE),
        ("", 1, Risk.UNSAFE),
        ("link", 1, Risk.UNSAFE),
    ],
)
def test_weights_of_onnx_in_other_files_lie_in_the_folder(
    tmp_path: Path, location: str, length: int, risk: Risk | None, nested: bool
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "weights.bin").write_bytes(bytes(8))
    if location == "link":
        (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "model.onnx").write_bytes(build.onnx_external(location, 0, length, nested=nested))
    report = examine(folder)
    found = {each.risk for each in report.scan.findings if each.file == "model.onnx"}
    assert found == ({risk} if risk else set()), said(report)


def _script(source: bytes) -> bytes:
    return build.zipped(
        {
            "m/data.pkl": b"\x80\x02c__torch__\nNet\n)\x81.",
            "m/constants.pkl": b"\x80\x02).",
            "m/code/__torch__.py": source,
        }
    )


CODE: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "torch": (
        "m.pt",
        lambda mark: build.zipped({"m/data.pkl": pickle.dumps(Evil(mark))}),
        "m/data.pkl asks for posix.system",
    ),
    "torch module": (
        "m.bin",
        lambda mark: build.zipped({"m/data.pkl": b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81."}),
        "torch.nn.modules.linear.Linear",
    ),
    "torch that loads torch": (
        "m.pt",
        lambda mark: build.zipped({"m/data.pkl": b"\x80\x02ctorch.storage\n_load_from_bytes\nU\x01x\x85R."}),
        "torch.storage._load_from_bytes",
    ),
    "old torch": (
        "m.pth",
        lambda mark: b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {}, Evil(mark), [])),
        "posix.system",
    ),
    "compiled torch": (
        "m.pt2",
        lambda mark: build.zipped({"m/data/aotinductor/model.so": b"\x7fELF"}),
        "model.so is machine code",
    ),
    "torch in torch": (
        "m.pt2",
        lambda mark: build.zipped({"m/x.pt": build.zipped({"x/data.pkl": pickle.dumps(Evil(mark))})}),
        "x.pt: x/data.pkl asks for posix.system",
    ),
    "script with files": (
        "m.pt",
        lambda mark: _script(b"def f(self):\n  return torch.from_file('/etc/passwd')"),
        "torch.from_file",
    ),
    "script with operators": ("m.pt", lambda mark: _script(b"x = ops.image.read_file(y)"), "image::read_file"),
    "npy": ("w.npy", lambda mark: _saved(np.array([Evil(mark)], dtype=object)), "posix.system"),
    "npz": (
        "w.npz",
        lambda mark: build.zipped({"a.npy": _saved(np.array([Evil(mark)], dtype=object))}),
        "a.npy: its objects",
    ),
    "keras lambda": (
        "m.keras",
        lambda mark: _keras({"class_name": "Lambda", "module": "keras.layers"}),
        "Lambda layer",
    ),
    "keras module": ("m.keras", lambda mark: _keras({"class_name": "run", "module": "subprocess"}), "subprocess.run"),
    "keras function": (
        "m.keras",
        lambda mark: _keras({"class_name": "function", "config": "get_file", "module": "keras.utils"}),
        "keras.utils.get_file",
    ),
    "keras hdf5": ("m.h5", lambda mark: build.hdf5(80, b"model_config" + bytes(20)), "whole Keras model"),
    "tensorflow files": (
        "saved_model.pb",
        lambda mark: build.saved_model("MatMul", "ReadFile"),
        "ReadFile, which touches files",
    ),
    "tensorflow python": (
        "saved_model.pb",
        lambda mark: build.saved_model("X", functions=("PyFunc",)),
        "PyFunc, which calls Python",
    ),
    "skops": (
        "m.skops",
        lambda mark: build.zipped({"schema.json": b'{"content": [{"__class__": "system", "__module__": "os"}]}'}),
        "os.system",
    ),
    "mlflow": (
        "MLmodel",
        lambda mark: b"flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n",
        "mlflow.pyfunc.model",
    ),
    "mlflow code": (
        "MLmodel",
        lambda mark: b"flavors:\n  sklearn:\n    code: code\n",
        "flavor sklearn brings Python code",
    ),
    "remote code": (
        "config.json",
        lambda mark: b'{"auto_map": {"AutoModel": "modeling_own.Own"}}',
        "modeling_own.Own (auto_map)",
    ),
}


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _keras(layer: dict[str, Any]) -> bytes:
    return build.zipped(
        {
            "config.json": json.dumps(
                {"class_name": "Model", "module": "keras.models", "config": {"x": [layer]}}
            ).encode()
        }
    )


@pytest.mark.parametrize("case", CODE)
def test_code_is_named_and_not_run(tmp_path: Path, case: str) -> None:
    name, make, message = CODE[case]
    report = scanned(tmp_path / name, make(tmp_path / "ran"))
    assert risks(report) == {Risk.CODE}
    assert message in said(report)
    assert not (tmp_path / "ran").exists()


def test_honest_scripts_of_torch_pass(tmp_path: Path) -> None:
    source = b"def forward(self, x):\n  return torch.add(ops.prim.NumToTensor(1), ops.torchvision.nms(x))"
    assert scanned(tmp_path / "m.pt", _script(source)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("name", "content", "risk"),
    [
        ("model.py", b"import os", Risk.PROGRAM),
        ("1/model.py", b"import os", Risk.PROGRAM),
        ("convert.py", b"import os", None),
        ("op.so", b"\x7fELF", Risk.PROGRAM),
        (
            "requirements.txt",
            b"# what it needs\nscikit-learn==1.9.0  # pinned\nnumpy>=2,<3 ; python_version > '3'\na[b]\n",
            None,
        ),
        ("requirements.txt", b"evil @ https://x/y.whl", Risk.PROGRAM),
        ("requirements.txt", b"--index-url https://x", Risk.PROGRAM),
        ("requirements.txt", b"-e .", Risk.PROGRAM),
        ("requirements.txt", b"./wheel.whl", Risk.PROGRAM),
        ("requirements.txt", b"git+https://x/y", Risk.PROGRAM),
        ("model.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", Risk.DAMAGED),
        ("model.gguf", b"GGUF" + bytes(20), None),
        ("model.gguf", b"GGUF\x03\0\0\0" + b"\xff" * 16, Risk.DAMAGED),
        ("config.json", b'{"architectures": ["Bert"]}', None),
        ("vocab.txt", b"the\n", None),
        ("log.gz", b"\x1f\x8b\x08\0", Risk.DAMAGED),
        ("model.xml", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>", Risk.UNSAFE),
        ("model.pmml", b"<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><x>&f;</x>", Risk.UNSAFE),
        ("model.pmml", b"<html>404", Risk.DAMAGED),
        ("model.json", b"[" * 100_000, Risk.DAMAGED),
        ("model.ubj", b"[" * 100_000, Risk.DAMAGED),
        ("model.ubj", b"[$Z#L\x7f" + b"\xff" * 7, None),
        ("MLmodel", b"a: &a [x]\nb: [*a, *a]\nflavors: {}", Risk.DAMAGED),
        ("MLmodel", b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n", None),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "model-1.safetensors"}}', Risk.DAMAGED),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../../x.safetensors"}}', Risk.UNSAFE),
    ],
)
def test_what_a_file_is_follows_from_its_name_and_its_content(
    tmp_path: Path, name: str, content: bytes, risk: Risk | None
) -> None:
    report = scanned(tmp_path / name, content)
    assert risks(report) == ({risk} if risk else set()), said(report)


def test_a_zip_file_that_would_fill_a_machine_is_unsafe(tmp_path: Path) -> None:
    bomb = build.zipped({"data.pkl": bytes(100 << 20)}, zipfile.ZIP_DEFLATED)
    assert risks(scanned(tmp_path / "model.pt", bomb)) == {Risk.UNSAFE}


def test_names_of_fields_are_no_objects(tmp_path: Path) -> None:
    plain = np.zeros(2, dtype=[("Open", "f8"), ("Odd", [("O", "i4")])])
    assert scanned(tmp_path / "a.npy", _saved(plain)).verdict is Verdict.PASSED
    nested = np.zeros(2, dtype=[("a", [("b", "O", (2,))])])
    assert risks(scanned(tmp_path / "b.npy", _saved(nested))) == {Risk.CODE}


def test_arrays_in_npz_need_no_suffix(tmp_path: Path) -> None:
    hidden = _saved(np.array([Evil(tmp_path / "ran")], dtype=object))
    assert risks(scanned(tmp_path / "a.npz", build.zipped({"plain": hidden}))) == {Risk.CODE}


def test_variables_of_a_saved_model_are_complete(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(build.saved_model("VarHandleOp"))
    assert "its variables are not complete" in examine(tmp_path).message
    (tmp_path / "variables").mkdir()
    for name in ("variables.index", "variables.data-00000-of-00002"):
        (tmp_path / "variables" / name).write_bytes(b"x")
    assert "its variables are not complete" in examine(tmp_path).message
    (tmp_path / "variables" / "variables.data-00001-of-00002").write_bytes(b"x")
    assert examine(tmp_path).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("members", "said_of_it"),
    [
        ({"m.pt": build.zipped({"m/data.pkl": build.torch_pickle(), "m/data/0": bytes(16)}), "x.txt": b""}, []),
        ({"handler.py": b"import os"}, [(Risk.PROGRAM, "handler.py is a Python program")]),
        ({"fast.so": b"\x7fELF"}, [(Risk.CODE, "fast.so is machine code")]),
        (
            {"m.pt": build.zipped({"m/data.pkl": pickle.dumps(Evil(Path("/x")), 2)})},
            [(Risk.CODE, "m.pt: m/data.pkl asks for posix.system")],
        ),
    ],
    ids=["graph", "handler", "native", "evil graph"],
)
def test_archives_of_torchserve_are_looked_into(
    tmp_path: Path, members: dict[str, bytes], said_of_it: list[tuple[Risk, str]]
) -> None:
    manifest = {"MAR-INF/MANIFEST.json": b'{"model": {}}'}
    (tmp_path / "m.mar").write_bytes(build.zipped({**manifest, **members}))
    report = examine(tmp_path / "m.mar")
    assert [(each.risk, each.message) for each in report.scan.findings] == said_of_it
    assert report.scan.formats == {"torchserve": 1}


def test_weights_in_an_archive_of_torchserve_are_looked_into(tmp_path: Path) -> None:
    members = {"MAR-INF/MANIFEST.json": b"{}", "pytorch_model.bin": pickle.dumps(Evil(tmp_path / "ran"), 2)}
    (tmp_path / "m.mar").write_bytes(build.zipped(members))
    found = [(each.risk, each.message) for each in examine(tmp_path / "m.mar").scan.findings]
    assert (Risk.CODE, "pytorch_model.bin asks for posix.system") in found
