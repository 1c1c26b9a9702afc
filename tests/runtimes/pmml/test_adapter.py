"""KServe's PMML model and payloads, the forms of a request, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colonnade.errors import InvalidInput
from colonnade.model.binding import BoundModel, bind
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.pmml.adapter import PmmlRuntime
from colonnade.wire.tensors import InferRequest, Tensor

from .. import conftest
from .documents import document, load, rows, schema

SETOSA = {
    "Species": "setosa",
    "Probability_setosa": 1.0,
    "Probability_versicolor": 0.0,
    "Probability_virginica": 0.0,
    "Node_Id": "2",
}
NAMES = ("Sepal_Length", "Sepal_Width", "Petal_Length", "Petal_Width")


@pytest.fixture(scope="module")
def iris(kserve: Path) -> BoundModel:
    """KServe's iris tree."""
    assert kserve == conftest.KSERVE
    return bind(PmmlRuntime().load("iris", kserve / "models" / "iris.pmml", LoadOptions(env={})))


def test_kserves_payload_has_the_answer_of_kserves_test(iris: BoundModel, payload: Any) -> None:
    assert iris.predict_v1(payload("pmml_input")) == {"predictions": [SETOSA]}


def test_v2_answers_one_output_for_each_field(iris: BoundModel) -> None:
    answer = iris.infer(InferRequest("iris", [Tensor.of("input-0", np.array([[5.1, 3.5, 1.4, 0.2]], np.float32))]))
    assert {output.name: output.data.tolist() for output in answer.outputs} == {
        "Species": [b"setosa"],
        "Probability_setosa": [1.0],
        "Probability_versicolor": [0.0],
        "Probability_virginica": [0.0],
        "Node_Id": [b"2"],
    }
    assert [(spec.name, spec.datatype) for spec in iris.outputs] == [
        (output.name, output.datatype) for output in answer.outputs
    ]
    assert [(spec.name, spec.datatype, spec.shape) for spec in iris.inputs] == [(name, "FP64", (-1,)) for name in NAMES]


@pytest.mark.parametrize(
    "payload",
    [
        {"instances": [dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))]},
        {"instances": [{**dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True)), "id": 7}]},
        {"inputs": {name: [value] for name, value in zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True)}},
        {"instances": np.array([[5.1, 3.5, 1.4, 0.2]])},
    ],
)
def test_rows_come_by_place_or_by_name(iris: BoundModel, payload: Any) -> None:
    assert iris.predict_v1(payload)["predictions"] == [SETOSA]


def test_columns_come_in_any_order(iris: BoundModel) -> None:
    values = dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))
    columns = [Tensor.of(name, np.array([values[name]])) for name in reversed(NAMES)]
    assert iris.infer(InferRequest("iris", columns)).outputs[0].data.tolist() == [b"setosa"]


def test_a_missing_value_follows_the_default_child(iris: BoundModel) -> None:
    [answer] = iris.predict_v1({"instances": [[5, 3, None, 1.0]]})["predictions"]
    assert (answer["Species"], answer["Node_Id"]) == ("versicolor", "6")
    tensor = Tensor.of("input-0", np.array([[5, 3, np.nan, 1.0]]))
    assert iris.infer(InferRequest("iris", [tensor])).outputs[0].data.tolist() == [b"versicolor"]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"instances": [[50, 3, 3, 2]]}, 'Field "Sepal_Length" is 50, which the model refuses; send [4.3, 7.9]'),
        ({"instances": [["wide", 3, 3, 2]]}, "Field \"Sepal_Length\" is 'wide', which the model refuses"),
        ({"instances": [[5, 3]]}, "the model expects 4 features per row and the request has 2"),
        ({"instances": [{"sepal": 5}]}, "the model has no fields sepal; its fields are Sepal_Length"),
        ({"instances": [[5, 3, 1, [1]]]}, 'Field "Petal_Width" of instances[0] is no single value'),
        ({"instances": [7]}, "instances[0] is no row"),
        ({"inputs": {"Sepal_Length": [5, 5], "Sepal_Width": [3]}}, "must be lists of one length"),
        ({"rows": []}, 'neither "instances" nor "inputs"'),
        (b"\x00", "The request is no JSON"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(iris: BoundModel, payload: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        iris.predict_v1(payload)
    assert message in caught.value.message


@pytest.mark.parametrize("shape", [(4,), (1, 3), (1, 2, 2)])
def test_a_tensor_of_another_shape_is_refused(iris: BoundModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="4"):
        iris.infer(InferRequest("iris", [Tensor.of("input-0", np.ones(shape))]))


def test_text_and_numbers_stand_in_one_row(tmp_path: Path) -> None:
    tree = (
        '<Node score="0"><True/><Node score="1"><CompoundPredicate booleanOperator="and">'
        '<SimplePredicate field="c" operator="equal" value="dark blue"/>'
        '<SimplePredicate field="x" operator="lessThan" value="2"/></CompoundPredicate></Node>'
        '<Node score="2"><True/></Node></Node>'
    )
    model = load(
        tmp_path, document(f'<TreeModel functionName="regression">{schema("x", "c", target="y")}{tree}</TreeModel>')
    )
    assert [row["y"] for row in rows(model, [1, "dark blue"], [3, "dark blue"], {"x": 1, "c": "red"})] == [1, 2, 2]
    columns = [
        Tensor.of("c", np.array([b"dark blue", b"red"], np.object_)),
        Tensor.of("x", np.array([1, 1], np.int64)),
    ]
    assert bind(model).infer(InferRequest("m", columns)).outputs[0].data.tolist() == [1.0, 2.0]


def test_no_answer_is_null_and_nan(tmp_path: Path) -> None:
    tree = '<Node><True/><Node score="1"><SimplePredicate field="x" operator="lessThan" value="2"/></Node></Node>'
    model = load(
        tmp_path, document(f'<TreeModel functionName="regression">{schema("x", target="y")}{tree}</TreeModel>')
    )
    assert [row["y"] for row in rows(model, [1], [3], [None])] == [1, None, None]
    answer = bind(model).infer(InferRequest("m", [Tensor.of("x", np.array([1.0, 3.0]))]))
    np.testing.assert_array_equal(answer.outputs[0].data, [1.0, np.nan])
