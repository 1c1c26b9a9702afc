"""Answers and errors made of KServe's own objects, and of objects that only look like them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import kserve
import numpy as np
import pandas as pd
import pytest
from fastapi import HTTPException
from kserve import errors as kserve_errors

from colonnade.errors import InferenceError, InvalidInput, NotFound, NotImplementedByModel, Unavailable
from colonnade.model import foreign, results
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor, TensorSpec

REQUEST = InferRequest("m", [], id="7")


def raw(array: np.ndarray, datatype: str) -> kserve.InferOutput:
    output = kserve.InferOutput("y", list(array.shape), datatype)
    output.set_data_from_numpy(array)
    return output


OUTPUTS: list[tuple[Any, str, Any]] = [
    (kserve.InferOutput("y", [2, 2], "fp32", [1.5, 2, 3, 4]), "FP32", [[1.5, 2.0], [3.0, 4.0]]),
    (kserve.InferOutput("y", [2], "INT64", np.array([1, 2])), "INT64", [1, 2]),
    (kserve.InferOutput("y", [1], "BOOL", [True]), "BOOL", [True]),
    (kserve.InferOutput("y", [2], "BYTES", ["a", "ä"]), "BYTES", [b"a", "ä".encode()]),
    (raw(np.array([[1, 2]], np.float16), "FP16"), "FP16", [[1.0, 2.0]]),
    (raw(np.array([b"a", b"\xff"], object), "BYTES"), "BYTES", [b"a", b"\xff"]),
    (SimpleNamespace(name="y", datatype="INT8", shape=(2, 1), data=[1, 2]), "INT8", [[1], [2]]),
]


@pytest.mark.parametrize(("output", "datatype", "values"), OUTPUTS)
def test_an_output_becomes_a_tensor(output: Any, datatype: str, values: Any) -> None:
    respond = results.responder("m", "1", ())
    answer = respond(kserve.InferResponse("", "other", [output], parameters={"p": 1}))
    answer = results.identified(answer, REQUEST)
    [tensor] = answer.outputs
    assert (tensor.name, tensor.datatype, tensor.data.tolist()) == ("y", datatype, values)
    assert tensor.shape == tensor.data.shape
    assert tensor.parameters is None
    assert (answer.model_name, answer.model_version, answer.id, answer.parameters) == ("other", "1", "7", {"p": 1})


def test_over_v1_it_is_the_predictions() -> None:
    one = kserve.InferResponse("1", "m", [kserve.InferOutput("y", [2, 1], "INT32", [1, 2])])
    assert results.to_v1(one)["predictions"].tolist() == [[1], [2]]
    two = SimpleNamespace(outputs=[OUTPUTS[0][0], kserve.InferOutput("z", [1], "BYTES", ["b"])])
    answer = results.to_v1(two, "explanations")["explanations"]
    assert {name: value.tolist() for name, value in answer.items()} == {"y": OUTPUTS[0][2], "z": [b"b"]}


def test_data_that_is_not_of_its_shape_is_named() -> None:
    wrong = kserve.InferResponse("1", "m", [kserve.InferOutput("y", [3], "FP32", [1.0])])
    with pytest.raises(InferenceError, match=r'^Output "y" cannot be read as FP32 of shape \[3\]$'):
        results.responder("m", "1", ())(wrong)


def test_it_is_held_against_declared_outputs() -> None:
    respond = results.responder("m", "1", [TensorSpec("y", "FP64", (-1,))])
    [tensor] = respond(SimpleNamespace(outputs=[kserve.InferOutput("y", [1], "FP32", [1.0])])).outputs
    assert (tensor.datatype, tensor.data.dtype) == ("FP64", np.float64)


@pytest.mark.parametrize(
    "result", [{"outputs": []}, pd.DataFrame({"outputs": [1]}), np.zeros(1), SimpleNamespace(outputs=[1]), [1], None]
)
def test_anything_else_is_left_alone(result: Any) -> None:
    assert foreign.response(result) is None


def test_a_response_that_the_model_keeps_is_not_changed() -> None:
    kept = InferResponse("", [Tensor.of("y", [1])])
    respond = results.responder("m", "1", ())
    answers = [results.identified(respond(kept), InferRequest("m", [], id=identity)) for identity in ("1", "2")]
    assert [answer.id for answer in answers] == ["1", "2"]
    assert kept == InferResponse("", kept.outputs)


@pytest.mark.parametrize(
    ("raised", "kind", "status", "message"),
    [
        (kserve_errors.InvalidInput("bad row"), InvalidInput, 400, "bad row"),
        (kserve_errors.InferenceError("no GPU", status="INTERNAL"), InferenceError, 500, "[INTERNAL] no GPU"),
        (kserve_errors.ModelNotFound("m"), NotFound, 404, "Model with name m does not exist."),
        (kserve_errors.ModelNotReady("m", "warming"), Unavailable, 503, "Model with name m is not ready. warming"),
        (kserve_errors.ServerNotReady(), Unavailable, 503, "Server is not ready."),
        (kserve_errors.UnsupportedProtocol("v3"), NotImplementedByModel, 501, "Unsupported protocol v3."),
        (HTTPException(422, "no such column"), InvalidInput, 422, "no such column"),
        (HTTPException(507, "disk full"), InferenceError, 507, "disk full"),
    ],
)
def test_errors_of_the_sdk_say_the_same_here(raised: Exception, kind: type, status: int, message: str) -> None:
    error = foreign.failure(raised)
    assert isinstance(error, kind)
    assert (error.status, error.message) == (status, message)


def test_a_users_own_kind_of_the_sdks_error_counts_as_it() -> None:
    class OutOfRange(kserve_errors.InvalidInput):
        pass

    error = foreign.failure(OutOfRange("age is -1"))
    assert isinstance(error, InvalidInput)


@pytest.mark.parametrize("raised", [ValueError("secret"), KeyError("x"), kserve_errors.ModelMissingError("/secret")])
def test_other_errors_stay_faults(raised: Exception) -> None:
    assert foreign.failure(raised) is None
