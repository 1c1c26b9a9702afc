"""ONNX graphs: declared tensors, texts, zipmaps, chosen outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.model.binding import BoundModel, bind
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.onnx import OnnxRuntime
from colonnade.wire.tensors import InferRequest, RequestedOutput, Tensor, TensorSpec

X, Y = load_iris(return_X_y=True)


def served(path: Path) -> BoundModel:
    return bind(OnnxRuntime().load("m", path, LoadOptions(env={})))


def graph(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Path:
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(made, path / "model.onnx")
    return path


@pytest.fixture(params=[True, False], ids=["zipmap", "plain"])
def iris(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[BoundModel, LogisticRegression]:
    model = LogisticRegression(max_iter=500).fit(X, Y)
    converted = to_onnx(model, X[:1].astype(np.float32), options={id(model): {"zipmap": request.param}})
    (tmp_path / "model.onnx").write_bytes(converted.SerializeToString())
    return served(tmp_path), model


def test_inputs_and_outputs_are_declared(iris: tuple[BoundModel, Any]) -> None:
    bound = iris[0]
    assert bound.inputs == (TensorSpec("X", "FP32", (-1, 4)),)
    assert [(spec.datatype, len(spec.shape)) for spec in bound.outputs] == [("INT64", 1), ("FP32", 2)]


def test_labels_and_probabilities_come_as_tensors(iris: tuple[BoundModel, LogisticRegression]) -> None:
    bound, model = iris
    response = bound.infer(InferRequest("m", [Tensor.of("X", X.astype(np.float32))]))
    labels, probabilities = response.outputs
    assert labels.data.tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(probabilities.data, model.predict_proba(X), atol=1e-4)
    if probabilities.name == "output_probability":
        assert probabilities.parameters == {"classes": "[0, 1, 2]"}


def test_v1_rows_are_cast_to_the_declared_type(iris: tuple[BoundModel, LogisticRegression]) -> None:
    bound, model = iris
    answer = bound.predict_v1({"instances": X[:3].tolist()})["predictions"]
    assert answer[bound.outputs[0].name].tolist() == model.predict(X[:3]).tolist()


def test_only_the_outputs_that_are_asked_for_are_computed(iris: tuple[BoundModel, Any]) -> None:
    bound = iris[0]
    label = bound.outputs[0].name
    request = InferRequest("m", [Tensor.of("X", X[:1].astype(np.float32))], outputs=[RequestedOutput(label)])
    assert [output.name for output in bound.infer(request).outputs] == [label]
    request.outputs = [RequestedOutput("nothing")]
    with pytest.raises(InvalidInput, match=rf"no output 'nothing'; its outputs are {label}"):
        bound.infer(request)


@pytest.mark.parametrize(
    "tensor", [Tensor.of("X", X), Tensor.of("Y", X.astype(np.float32)), Tensor.of("X", X[:, :2].astype(np.float32))]
)
def test_a_tensor_that_is_not_the_declared_one_is_refused(iris: tuple[BoundModel, Any], tensor: Tensor) -> None:
    with pytest.raises(InvalidInput):
        iris[0].infer(InferRequest("m", [tensor]))


def test_texts_pass_both_ways(tmp_path: Path) -> None:
    kind = lambda name: helper.make_tensor_value_info(name, TensorProto.STRING, ["n"])  # noqa: E731
    bound = served(graph(tmp_path, [helper.make_node("Identity", ["a"], ["b"])], [kind("a")], [kind("b")]))
    words = np.array([b"good", "é".encode()], dtype=object)
    output = bound.infer(InferRequest("m", [Tensor("a", "BYTES", (2,), words)])).outputs[0]
    assert (output.datatype, output.data.tolist()) == ("BYTES", [b"good", "é".encode()])


def test_several_inputs_are_fed_by_name(tmp_path: Path) -> None:
    kind = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])  # noqa: E731
    bound = served(graph(tmp_path, [helper.make_node("Sub", ["a", "b"], ["c"])], [kind("a"), kind("b")], [kind("c")]))
    request = InferRequest(
        "m", [Tensor.of("b", np.array([1], dtype=np.float32)), Tensor.of("a", np.array([5], dtype=np.float32))]
    )
    assert bound.infer(request).outputs[0].data.tolist() == [4]
    assert bound.predict_v1({"instances": [{"b": 1.0, "a": 5.0}]})["predictions"].tolist() == [4]


def test_a_type_that_the_protocol_lacks_is_refused_at_load(tmp_path: Path) -> None:
    kind = lambda name: helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["n"])  # noqa: E731
    path = graph(tmp_path, [helper.make_node("Identity", ["a"], ["b"])], [kind("a")], [kind("b")])
    with pytest.raises(LoadFailed, match="cannot"):
        served(path)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(LoadFailed, match=str(tmp_path / "model.onnx")):
        served(tmp_path)
