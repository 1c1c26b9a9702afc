"""Models as users write them, called through their compiled operations."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest

from colonnade import InferenceError, InferRequest, InferResponse, InvalidInput, Model, Tensor, TensorSpec
from colonnade.errors import LoadFailed, NotImplementedByModel
from colonnade.model.binding import BoundModel, bind, require_predict
from colonnade.model.results import whole


def request(*arrays: Any, names: str = "abcdef", **fields: Any) -> InferRequest:
    tensors = [Tensor.of(name, np.asarray(array)) for name, array in zip(names, arrays, strict=False)]
    return InferRequest("m", tensors, **fields)


def v2(model: Model, *arrays: Any, **fields: Any) -> InferResponse:
    response: InferResponse = bind(model).infer(request(*arrays, **fields))
    return response


def v1(model: Model, payload: Any) -> Any:
    return bind(model).predict_v1(payload)


class Double(Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x * 2


class Add(Model):
    def predict(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return left - right


class Columns(Model):
    def predict(self, table: pd.DataFrame) -> list[str]:
        return [f"{column}={values.tolist()}" for column, values in table.items()]


class Table(Model):
    def predict(self, table: np.ndarray | pd.DataFrame) -> str:
        return [type(table).__name__]


class Echo(Model):
    def predict(self, payload):
        return payload


class Inputs(Model):
    def predict(self, request: InferRequest) -> InferResponse:
        return InferResponse("", [Tensor.of(f"out-{tensor.name}", tensor.data) for tensor in request.inputs])


def test_an_array_model_over_v2_takes_any_name() -> None:
    response = v2(Double("m"), [[1, 2]], names=["whatever"], id="7")
    assert (response.model_name, response.model_version, response.id) == ("m", "1", "7")
    (output,) = response.outputs
    assert (output.name, output.datatype, output.shape) == ("output-0", "INT64", (1, 2))
    assert output.data.tolist() == [[2, 4]]


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_an_array_model_over_v1(key: str) -> None:
    answer = v1(Double(), {key: [[1, 2], [3, 4.5]]})
    assert list(answer) == ["predictions"]
    np.testing.assert_array_equal(answer["predictions"], [[2, 4], [6, 9]])


def test_text_is_the_same_array_in_every_protocol() -> None:
    class Lengths(Model):
        def predict(self, x: np.ndarray) -> np.ndarray:
            assert x.dtype == object
            return np.array([len(text) for text in x])

    assert v1(Lengths(), {"instances": ["ß", "abc"]})["predictions"].tolist() == [2, 3]
    texts = np.array(["ß".encode(), b"abc"], dtype=object)
    assert v2(Lengths(), texts).outputs[0].data.tolist() == [2, 3]


NOT_ONE_TYPE = '"instances" must hold only numbers, only booleans or only text'
BAD_V1 = [
    ({}, 'The request has neither "instances" nor "inputs"; send {"instances": [...]}'),
    ({"instances": [[1, 2], [3]]}, '"instances" does not form a regular array; give all rows the same length'),
    ({"instances": [1, [2]]}, '"instances" does not form a regular array; give all rows the same length'),
    ({"instances": [["a"], ["b", "c"]]}, '"instances" does not form a regular array; give all rows the same length'),
    ({"instances": [1, "a"]}, NOT_ONE_TYPE),
    ({"instances": [[1], [True]]}, NOT_ONE_TYPE),
    ({"instances": [1, None]}, f"{NOT_ONE_TYPE}; null is none of these"),
    ({"instances": [{"a": 1}]}, f"{NOT_ONE_TYPE}; this model takes no objects"),
    ({"instances": [10**30]}, '"instances" holds a number outside the range of 64 bits'),
]


@pytest.mark.parametrize(("payload", "message"), BAD_V1)
def test_bad_v1_rows_are_refused(payload: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        v1(Double(), payload)
    assert caught.value.message == message


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[[]]]])
def test_empty_rows_are_an_empty_array(rows: list[Any]) -> None:
    assert v1(Double(), {"instances": rows})["predictions"].shape == np.array(rows).shape


def test_one_tensor_is_wanted() -> None:
    with pytest.raises(InvalidInput, match='The model takes one input tensor and got 2: "a", "b"'):
        v2(Double(), [1], [2])
    with pytest.raises(InvalidInput, match=r"^The model takes one input tensor and got 0$"):
        v2(Double())


def test_several_arrays_match_by_name_then_by_order() -> None:
    assert v2(Add(), [1], [3], names=["right", "left"]).outputs[0].data.tolist() == [2]
    assert v2(Add(), [1], [3], names=["x", "y"]).outputs[0].data.tolist() == [-2]
    with pytest.raises(InvalidInput, match=r"The model takes 2 input tensors \(left, right\) and got 1"):
        v2(Add(), [1])


def test_several_arrays_over_v1_are_rows_or_columns() -> None:
    rows = {"instances": [{"left": [5], "right": [1]}, {"left": [6], "right": [2]}]}
    assert v1(Add(), rows)["predictions"].tolist() == [[4], [4]]
    assert v1(Add(), {"inputs": {"left": [5], "right": [1]}})["predictions"].tolist() == [4]
    for bad in ({"instances": [[1, 2]]}, {"instances": [{"left": 1}]}, {"inputs": {"left": [1]}}):
        with pytest.raises(InvalidInput, match="must be a list of objects with the keys left, right; missing: "):
            v1(Add(), bad)


V1_TABLES = [
    ({"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}, ["a=[1, 2]", "b=['x', 'y']"]),
    ({"inputs": [{"a": [1, 2], "b": ["x", "y"]}, {"a": [3], "b": ["z"]}]}, ["a=[1, 2, 3]", "b=['x', 'y', 'z']"]),
    ({"inputs": {"a": [1, 2]}}, ["a=[1, 2]"]),
    ({"a": 1, "b": "x"}, ["a=[1]", "b=['x']"]),
    ({"a": [1, 2], "b": ["x", "y"]}, ["a=[1, 2]", "b=['x', 'y']"]),
    ({"instances": [[1, 2], [3, 4]]}, ["0=[1, 3]", "1=[2, 4]"]),
]


@pytest.mark.parametrize(("payload", "columns"), V1_TABLES)
def test_a_frame_model_over_v1(payload: Any, columns: list[str]) -> None:
    assert v1(Columns(), payload) == {"predictions": columns}


NO_COLUMNS = "The request's values must be all scalars (one row) or all lists of one length (columns)"
BAD_TABLES = [
    ({}, 'The request is empty; send {"instances": [...]}'),
    (
        {"a": [1], "b": [1, 2]},
        NO_COLUMNS,
    ),
    ({"a": [1], "b": 2}, NO_COLUMNS),
    (
        {"instances": [{"a": [1], "b": [1, 2]}]},
        'The rows of the request do not form a table; send objects with the same keys, such as [{"a": 1, "b": 2}]',
    ),
]


@pytest.mark.parametrize(("payload", "message"), BAD_TABLES)
def test_what_is_no_table_is_refused(payload: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        v1(Columns(), payload)
    assert caught.value.message == message


def test_a_frame_model_over_v2() -> None:
    texts = np.array([b"x", b"y"], dtype=object)
    response = v2(Columns(), [1, 2], texts)
    assert response.outputs[0].data.tolist() == [b"a=[1, 2]", b"b=['x', 'y']"]
    assert v2(Columns(), [[1, 2], [3, 4]]).outputs[0].data.tolist() == [b"0=[1, 3]", b"1=[2, 4]"]
    assert v2(Columns(), [[1], [3]]).outputs[0].data.tolist() == [b"a=[1, 3]"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([1, 2], [1]), 'Input "b" has 1 rows and input "a" has 2; the columns of a table must have the same length'),
        (([[1, 2]], [1]), 'Input "a" has shape [1, 2]; as a column of a table it must be [n] or [n, 1]'),
        ((1, 2), 'Input "a" has shape []; as a column of a table it must be [n] or [n, 1]'),
        (([1], np.array([b"\xff"], dtype=object)), 'Input "b": a BYTES element is not UTF-8 text'),
    ],
)
def test_tensors_that_are_no_columns_are_refused(arrays: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        v2(Columns(), *arrays)
    assert caught.value.message == message


def test_a_table_model_gets_a_frame_when_columns_came() -> None:
    assert v1(Table(), {"instances": [[1, 2]]}) == {"predictions": ["ndarray"]}
    assert v1(Table(), {"instances": [{"a": 1}]}) == {"predictions": ["DataFrame"]}
    assert v1(Table(), {"inputs": [[{"a": 1}, {"b": 2}]]}) == {"predictions": ["DataFrame"]}
    assert v1(Table(), {"a": 1}) == {"predictions": ["DataFrame"]}
    assert v2(Table(), [[1, 2]]).outputs[0].data.tolist() == [b"ndarray"]
    assert v2(Table(), [1], [2]).outputs[0].data.tolist() == [b"DataFrame"]
    assert v2(Table(), [1], parameters={"content_type": "pd"}).outputs[0].data.tolist() == [b"DataFrame"]


def test_an_array_model_gets_columns_as_a_matrix() -> None:
    response = v2(Double(), [1, 2], [3, 4], parameters={"content_type": "pd"})
    assert response.outputs[0].data.tolist() == [[2, 6], [4, 8]]


def test_a_missing_pandas_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(InferenceError) as caught:
        v1(Columns(), {"a": 1})
    assert caught.value.message == "This model takes data frames; install pandas: pip install 'colonnade[pandas]'"


def test_a_request_model_over_both_protocols() -> None:
    response = v2(Inputs("m"), [1.5])
    assert (response.model_name, response.outputs[0].name) == ("m", "out-a")
    assert v1(Inputs(), {"instances": [1, 2]})["predictions"].tolist() == [1, 2]


def test_an_unannotated_model_gets_the_payload() -> None:
    payload = {"anything": {"goes": 1}}
    assert v1(Echo(), payload) is payload
    assert bind(Echo()).takes_bytes
    assert not bind(Double()).takes_bytes


class Declared(Double):
    inputs = (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "BYTES", (1,)))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"z": [1.0]}, 'Model with name m has no input "z"; its inputs are "x" (FP32 [-1, 2]), "y" (BYTES [1])'),
        ({"x": np.zeros((1, 2))}, 'Input "x" is FP64, but the model takes FP32; convert it'),
        ({"x": np.zeros((1, 3), "f4")}, 'Input "x" has shape [1, 3], but the model takes [-1, 2]'),
        ({"x": np.zeros(2, "f4")}, 'Input "x" has shape [2], but the model takes [-1, 2]'),
        (
            {"x": np.zeros((1, 2), "f4")},
            'Model with name m needs "y" (BYTES [1]), which the request does not have',
        ),
        ({}, 'Model with name m needs "x" (FP32 [-1, 2]), "y" (BYTES [1]), which the request does not have'),
    ],
)
def test_a_request_that_does_not_fit_the_declared_inputs_is_refused(tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bind(Declared("m")).infer(request(*tensors.values(), names=list(tensors)))
    assert caught.value.message == message


class Single(Echo):
    inputs = (TensorSpec("x", "FP32", (-1, 2)),)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x


def test_v1_numbers_are_cast_to_the_declared_datatype() -> None:
    answer = v1(Single(), {"instances": [[1, 2]]})["predictions"]
    assert answer.dtype == np.float32


class Whole(Single):
    inputs = (TensorSpec("x", "INT8", (-1,)),)


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        (Single(), [[1, 2, 3]], '"instances" has shape [1, 3]; the model takes [-1, 2]'),
        (Single(), [["a", "b"]], '"instances" does not hold FP32, which the model takes'),
        (Whole(), [1.5], '"instances" holds a number that is no INT8, which the model takes'),
        (Whole(), [300], '"instances" holds a number that is no INT8, which the model takes'),
    ],
)
def test_v1_rows_that_do_not_fit_the_declared_input_are_refused(model: Model, rows: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        v1(model, {"instances": rows})
    assert caught.value.message == message


class Returns(Model):
    def __init__(self, result: Any, *specs: TensorSpec) -> None:
        super().__init__("m")
        self.result = result
        self.outputs = specs

    def predict(self, payload):
        return self.result


Y = TensorSpec("y", "FP32", (-1,))
Z = TensorSpec("z", "INT64", (-1,))

V2_RESULTS: list[tuple[Model, list[tuple[str, str, Any]]]] = [
    (Returns([1, 2]), [("output-0", "INT64", [1, 2])]),
    (Returns(["a", b"b"]), [("output-0", "BYTES", [b"a", b"b"])]),
    (Returns(np.array(["a", "ß"])), [("output-0", "BYTES", [b"a", "ß".encode()])]),
    (Returns(np.array([1, 2.5], dtype=object)), [("output-0", "FP64", [1, 2.5])]),
    (Returns(np.array([1, 2], dtype=">f8")), [("output-0", "FP64", [1, 2])]),
    (Returns(3.5), [("output-0", "FP64", 3.5)]),
    (Returns((np.array([1.5]), np.array([2]))), [("output-0", "FP64", [1.5]), ("output-1", "INT64", [2])]),
    (Returns([np.array([1.5]), np.array([2])], Y, Z), [("y", "FP32", [1.5]), ("z", "INT64", [2])]),
    (Returns(np.array([1.5]), Y), [("y", "FP32", [1.5])]),
    (Returns({"p": np.array([1]), "q": [True]}), [("p", "INT64", [1]), ("q", "BOOL", [True])]),
    (Returns(pd.DataFrame({"a": [1], "b": ["x"]})), [("a", "INT64", [1]), ("b", "BYTES", [b"x"])]),
    (Returns(pd.Series([1, 2])), [("output-0", "INT64", [1, 2])]),
    (Returns(InferResponse("", [Tensor("t", "FP32", (2, 1), np.array([1.0, 2.0]))])), [("t", "FP32", [[1.0], [2.0]])]),
]


@pytest.mark.parametrize(("model", "outputs"), V2_RESULTS)
def test_results_become_outputs(model: Model, outputs: list[tuple[str, str, Any]]) -> None:
    response = v2(model, [1], id="7")
    assert [(output.name, output.datatype, output.data.tolist()) for output in response.outputs] == outputs
    assert all(output.shape == output.data.shape for output in response.outputs)
    assert (response.model_name, response.model_version, response.id) == ("m", "1", "7")


BAD_RESULTS = [
    (Returns([[1], [2, 3]]), 'Output "output-0" does not form a regular array'),
    (
        Returns(np.array([1j])),
        'Output "output-0": arrays of complex128 have no datatype in the Open Inference Protocol; convert them first',
    ),
    (
        Returns([object()]),
        'Output "output-0" holds elements that are neither numbers, text nor bytes; return an array of one type',
    ),
    (Returns(None), "predict returned None; return the answer"),
    (Returns({1: [1]}), "The model's outputs must be named by text"),
    (Returns(np.array([1.5]), Z), 'Output "z" is FP64, but the model declares INT64'),
    (
        Returns(InferResponse("", [Tensor("t", "FP32", (3,), np.array([1.0, 2.0]))])),
        'Output "t" says shape [3], but its data has [2]',
    ),
]


@pytest.mark.parametrize(("model", "message"), BAD_RESULTS)
def test_what_tensors_cannot_carry_is_an_inference_error(model: Model, message: str) -> None:
    with pytest.raises(InferenceError) as caught:
        v2(model, [1])
    assert caught.value.message == message


def test_no_result_is_an_error_in_v1_too_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InferenceError, match="predict returned None"):
        bind(Returns(None)).predict_v1({"instances": [1]})
    assert "predict returned None" in caplog.text


class Misspelt(Model):
    def predit(self, x: np.ndarray) -> np.ndarray:
        return x


def test_a_model_without_predict_is_refused_with_the_fix() -> None:
    with pytest.raises(
        LoadFailed, match=r"test_binding.py: class Misspelt defines no predict\(\); it has 'predit'; ren"
    ):
        require_predict(Misspelt("m"))
    late = Misspelt("m")
    late.predict = late.predit  # type: ignore[method-assign]
    require_predict(late)
    require_predict(Returns(None))


ARRAY = np.array([1, 2])
V1_RESULTS = [
    (ARRAY, {"predictions": ARRAY}),
    ([1, 2], {"predictions": [1, 2]}),
    ((1, 2), {"predictions": [1, 2]}),
    (np.float64(1.5), {"predictions": [1.5]}),
    ({"predictions": ARRAY}, {"predictions": ARRAY}),
    ({"predictions": [1], "extra": "x"}, {"predictions": [1], "extra": "x"}),
    ({"a": ARRAY, "b": ARRAY}, {"predictions": {"a": ARRAY, "b": ARRAY}}),
    ({}, {}),
    (InferResponse("", [Tensor.of("y", ARRAY)]), {"predictions": ARRAY}),
    (InferResponse("", [Tensor.of("y", ARRAY), Tensor.of("z", ARRAY)]), {"predictions": {"y": ARRAY, "z": ARRAY}}),
    (b"raw", b"raw"),
]


@pytest.mark.parametrize(("result", "answer"), V1_RESULTS)
def test_results_become_v1_answers(result: Any, answer: Any) -> None:
    np.testing.assert_equal(v1(Returns(result), {"instances": []}), answer)


class Hooks(Model):
    def preprocess(self, payload, headers):
        return {"instances": [[len(payload["instances"]), int(headers["x-add"])]]}

    def predict(self, x: np.ndarray, response_headers: Any) -> np.ndarray:
        response_headers["x-seen"] = "yes"
        return x.sum(axis=1)

    def postprocess(self, result, headers=None, response_headers=None):
        return {"predictions": result.tolist(), "asked": headers["x-add"], "seen": response_headers["x-seen"]}


def test_hooks_run_in_order_and_get_headers() -> None:
    operation = bind(Hooks()).predict_v1
    assert not operation.is_async
    assert operation.takes_headers
    filled: dict[str, str] = {}
    answer = operation({"instances": [1, 2, 3]}, {"x-add": "7"}, filled)
    assert answer == {"predictions": [10], "asked": "7", "seen": "yes"}
    assert filled == {"x-seen": "yes"}
    assert not bind(Double()).predict_v1.takes_headers


def test_what_preprocess_returns_may_be_the_argument_itself() -> None:
    class Ready(Double):
        def preprocess(self, payload):
            return np.array([21])

    assert v2(Ready(), [1]).outputs[0].data.tolist() == [42]


async def test_async_hooks_are_awaited_and_blocking_ones_leave_the_loop() -> None:
    threads: dict[str, int] = {}

    class Mixed(Model):
        async def preprocess(self, payload):
            threads["preprocess"] = threading.get_ident()
            return payload

        def predict(self, x: np.ndarray) -> np.ndarray:
            threads["predict"] = threading.get_ident()
            return x

        async def postprocess(self, result):
            threads["postprocess"] = threading.get_ident()
            return result + 1

    bound: BoundModel = bind(Mixed())
    assert bound.infer.is_async
    response = await bound.infer(request([1]))
    assert response.outputs[0].data.tolist() == [2]
    assert threads["preprocess"] == threads["postprocess"] == threading.get_ident()
    assert threads["predict"] != threading.get_ident()


async def test_an_answer_in_parts_is_whole_nowhere() -> None:
    closed = []

    class Talker(Model):
        async def predict(self, payload):
            try:
                for word in payload["instances"] if isinstance(payload, dict) else payload.inputs[0].data:
                    yield word if isinstance(payload, dict) else np.array([word])
            finally:
                closed.append(True)

    bound = bind(Talker())
    parts = await bound.predict_v1({"instances": ["a", "b"]})
    assert [part async for part in parts] == ["a", "b"]
    answers = await bound.infer(request([1, 2]))
    assert [part.outputs[0].data.tolist() async for part in answers] == [[1], [2]]
    left = await bound.infer(request([1, 2]))
    assert (await anext(left)).model_name == "model"
    closed.clear()
    await left.aclose()
    assert closed, "who leaves ends the model's generator"
    with pytest.raises(InvalidInput, match="Model with name m answers in parts; ask it over V1"):
        whole(await bound.infer(request([1])), "m")


async def test_a_generator_that_is_returned_must_be_one() -> None:
    async def words():
        yield 1

    class Talker(Model):
        def predict(self, payload):
            return words()

    with pytest.raises(InferenceError, match="make its predict an async generator"):
        bind(Talker()).infer(request([1]))


def test_explain() -> None:
    class Explained(Double):
        def explain(self, x: np.ndarray) -> np.ndarray:
            return x + 1

    assert bind(Explained()).explain_v1({"instances": [1]})["explanations"].tolist() == [2]
    with pytest.raises(NotImplementedByModel, match=r"^Could not find explainer_host\.$"):
        bind(Double()).explain_v1({"instances": [1]})


def test_a_model_without_predict_says_so() -> None:
    with pytest.raises(NotImplementedByModel, match=r"^Model with name m does not implement predict\.$"):
        bind(Model("m")).infer(request([1]))


def test_the_users_own_exceptions_pass_through() -> None:
    class Fails(Model):
        def predict(self, x: np.ndarray) -> np.ndarray:
            raise InvalidInput("send less")

    with pytest.raises(InvalidInput, match="send less"):
        v2(Fails(), [1])


def test_what_a_lenient_model_declares_only_describes_it() -> None:
    class Lenient(Double):
        lenient = True
        inputs = [TensorSpec("x", "FP64", (-1, 2))]  # noqa: RUF012 (as users write it)
        outputs = [TensorSpec("y", "FP64", (-1, 2))]  # noqa: RUF012

    bound = bind(Lenient("m"))
    assert (bound.inputs[0].name, bound.outputs[0].name) == ("x", "y")
    [output] = bound.infer(request(np.array([1, 2, 3], np.int32))).outputs
    assert (output.name, output.datatype, output.data.tolist()) == ("output-0", "INT32", [2, 4, 6])
