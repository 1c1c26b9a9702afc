"""PyTorch on a running replica, in an environment with torch: exported programs, TorchScript, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .environment import made_by, python_with
from .replica import Replica, Start

pytestmark = pytest.mark.slow

SCRIPT = """
import json, pathlib, sys, torch
folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
    def forward(self, x, ids):
        return {"shares": torch.softmax(self.linear(x), -1), "total": ids.sum(1)}

class One(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
    def forward(self, x: torch.Tensor, scale: float = 2.0) -> torch.Tensor:
        return self.linear(x) * scale

class Thief(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/hostname", False, 1) + x

def place(name):
    (folder / name).mkdir()
    return folder / name

rows = torch.export.Dim("rows", min=1, max=8)
shapes = {"x": {0: rows}, "ids": {0: rows}}
example = (torch.ones(2, 4), torch.ones(2, 5, dtype=torch.int64))
program = torch.export.export(Two().eval(), example, dynamic_shapes=shapes)
torch.export.save(program, place("exported") / "model.pt2")
one = One().eval()
torch.jit.script(one).save(place("scripted") / "model.pt")
torch.jit.script(one).save(place("declared") / "model.pt")
(folder / "declared" / "model-settings.json").write_text(json.dumps({
    "name": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
}))
torch.jit.script(Thief()).save(place("thief") / "model.pt")
torch.save(one, place("pickled") / "model.pt")
x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
answers = {"one": one(x).tolist(), "two": program.module()(x, torch.ones(1, 5, dtype=torch.int64))["shares"].tolist()}
(folder / "answers.json").write_text(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("torch", "torch==2.13.0")


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by(python, SCRIPT, tmp_path_factory.mktemp("torch"))


@pytest.fixture(scope="module")
def answers(models: Path) -> Any:
    return json.loads((models / "answers.json").read_text())


@pytest.fixture(scope="module")
def exported(start: Start, python: Path, models: Path) -> Replica:
    return start("--model-name=m", f"--model-dir={models / 'exported'}", python=python).ready()


def tensor(name: str, array: Any, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(np.shape(array)), "data": np.ravel(array).tolist()}


def test_an_exported_program_says_its_tensors(exported: Replica) -> None:
    said = exported.http.get("/v2/models/m").json()
    assert said["platform"] == "pytorch"
    assert said["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "ids", "datatype": "INT64", "shape": [-1, 5]},
    ]
    assert [output["name"] for output in said["outputs"]] == ["shares", "total"]


def test_an_exported_program_answers(exported: Replica, answers: Any) -> None:
    inputs = [tensor("x", [[1, 2, 3, 4]], "FP32"), tensor("ids", [[1, 1, 1, 1, 1]], "INT64")]
    outputs = exported.http.post("/v2/models/m/infer", json={"inputs": inputs}).json()["outputs"]
    np.testing.assert_allclose(outputs[0]["data"], answers["two"][0], rtol=1e-5)
    assert outputs[1]["data"] == [5]
    one = exported.http.post("/v2/models/m/infer", json={"inputs": inputs, "outputs": [{"name": "total"}]}).json()
    assert [output["name"] for output in one["outputs"]] == ["total"]
    body = {"inputs": {"x": [[1, 2, 3, 4]], "ids": [[1, 1, 1, 1, 1]]}}
    predictions = exported.http.post("/v1/models/m:predict", json=body).json()["predictions"]
    np.testing.assert_allclose(predictions["shares"], answers["two"], rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([tensor("x", [[1, 2, 3, 4]], "FP32")], 'needs "ids" (INT64 [-1, 5])'),
        ([tensor("x", [[1, 2, 3, 4]], "FP64"), tensor("ids", [[1] * 5], "INT64")], 'Input "x" is FP64, but the model'),
        ([tensor("x", [[1, 2]], "FP32"), tensor("ids", [[1] * 5], "INT64")], 'Input "x" has shape [1, 2]'),
        ([tensor("x", [[1] * 4] * 9, "FP32"), tensor("ids", [[1] * 5] * 9, "INT64")], "could not run on FP32 [9, 4]"),
        ([tensor("x", [[1] * 4] * 2, "FP32"), tensor("ids", [[1] * 5], "INT64")], "could not run on FP32 [2, 4]"),
    ],
)
def test_what_does_not_fit_is_refused(exported: Replica, inputs: Any, message: str) -> None:
    answer = exported.http.post("/v2/models/m/infer", json={"inputs": inputs})
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_an_archive_of_torchserve_without_a_handler_of_its_own(
    start: Start, python: Path, models: Path, answers: Any, tmp_path: Path
) -> None:
    (tmp_path / "model-store").mkdir()
    manifest = {"model": {"modelName": "one", "serializedFile": "model.pt", "handler": "base_handler"}}
    with zipfile.ZipFile(tmp_path / "model-store" / "one.mar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(models / "scripted" / "model.pt", "model.pt")
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    replica = start("--model-name=m", f"--model-dir={tmp_path}", "--runtime=torch", python=python).ready()
    predictions = replica.http.post("/v1/models/m:predict", json={"instances": [[1.0, 2.0, 3.0, 4.0]]}).json()
    np.testing.assert_allclose(predictions["predictions"], answers["one"], rtol=1e-5)


def test_torchscript_without_a_declaration(start: Start, python: Path, models: Path, answers: Any) -> None:
    replica = start("--model-name=m", f"--model-dir={models / 'scripted'}", python=python).ready()
    assert replica.http.get("/v2/models/m").json()["inputs"] == []
    for name in ("x", "input-0"):
        inputs = [tensor(name, [[1, 2, 3, 4]], "FP32")]
        [output] = replica.http.post("/v2/models/m/infer", json={"inputs": inputs}).json()["outputs"]
        np.testing.assert_allclose(output["data"], answers["one"][0], rtol=1e-5)
    predictions = replica.http.post("/v1/models/m:predict", json={"instances": [[1.0, 2.0, 3.0, 4.0]]}).json()
    np.testing.assert_allclose(predictions["predictions"], answers["one"], rtol=1e-5)
    refused = replica.http.post("/v1/models/m:predict", json={"instances": [[1, 2, 3, 4]]})
    assert refused.status_code == 400
    assert "model-settings.json" in refused.json()["error"]


def test_torchscript_with_its_tensors_declared_beside_it(
    start: Start, python: Path, models: Path, answers: Any
) -> None:
    replica = start("--model-name=m", f"--model-dir={models / 'declared'}", python=python).ready()
    assert replica.http.get("/v2/models/m").json()["outputs"] == [
        {"name": "scores", "datatype": "FP32", "shape": [-1, 3]}
    ]
    predictions = replica.http.post("/v1/models/m:predict", json={"instances": [[1, 2, 3, 4]]}).json()["predictions"]
    np.testing.assert_allclose(predictions, answers["one"], rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "cause"),
    [("thief", "torch.from_file, which acts outside the model"), ("pickled", "holds weights or a pickled module")],
)
def test_what_is_refused_before_it_is_loaded(
    start: Start, python: Path, models: Path, tmp_path: Path, model: str, cause: str
) -> None:
    said = tmp_path / "termination"
    replica = start(f"--model-dir={models / model}", f"--termination-file={said}", python=python)
    assert replica.wait() != 0
    assert cause in said.read_text()


def test_a_replica_without_torch_says_what_brings_it(start: Start, models: Path, tmp_path: Path) -> None:
    said = tmp_path / "termination"
    replica = start(f"--model-dir={models / 'exported'}", f"--termination-file={said}")
    assert replica.wait() != 0
    assert "pip install colonnade[torch]" in said.read_text()
