"""What can be joined, and whose part of the answer is whose."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from colonnade.server.batchproxy import bodies
from colonnade.wire import v2client
from colonnade.wire.tensors import InferRequest, Tensor

V1, V2 = b"/v1/models/m:predict", b"/v2/models/m/infer"


def v2_body(*rows: list[float], **fields: Any) -> bytes:
    tensor = Tensor.of("x", np.array(rows))
    return json.dumps(json.loads(v2client.encode(InferRequest("m", [tensor]))) | fields).encode()


def read(path: bytes, body: bytes, **headers: bytes) -> bodies.Rows:
    found = bodies.read(path, {name.encode(): value for name, value in headers.items()}, body)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (V1, b"{"),
        (V1, b"\xff"),
        (V1, b"[1]"),
        (V1, b'{"instances": 3}'),
        (V1, b'{"instances": []}'),
        (V1, b'{"other": [1]}'),
        (b"/v1/models/m:explain", b'{"instances": [1]}'),
        (b"/v1/models/m/n:predict", b'{"instances": [1]}'),
        (V2, b"{}"),
        (V2, b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}]}'),
        (V2, v2_body([1.0], parameters={"a": 1})),
        (b"/v2/models/m/generate", v2_body([1.0])),
    ],
)
def test_what_is_no_rows_passes(path: bytes, body: bytes) -> None:
    assert bodies.read(path, {}, body) is None


def test_a_compressed_body_passes() -> None:
    assert bodies.read(V1, {b"content-encoding": b"gzip"}, b'{"instances": [1]}') is None


def test_rows_of_any_form_are_joined_as_they_are_written() -> None:
    texts = (b'{"instances": [1.10, {"a": null}]}', b'{"instances": ["\\u00e9"]}')
    one, two = (read(V1, text) for text in texts)
    assert one.kind == two.kind
    assert (one.count, two.count) == (2, 1)
    assert type(one).join([one, two]) == b'{"instances":[1.10,{"a": null},"\\u00e9"]}'


def test_what_stands_beside_the_rows_must_be_the_same() -> None:
    kinds = [read(V1, json.dumps({"instances": [1], "signature": name}).encode()).kind for name in ("a", "b", "a")]
    assert kinds[0] == kinds[2] != kinds[1]


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ({"predictions": [1, [2], {"a": 3}]}, [{"predictions": [1, [2]]}, {"predictions": [{"a": 3}]}]),
        (
            {"predictions": [1, 2, 3], "model": "m"},
            [{"predictions": [1, 2], "model": "m"}, {"predictions": [3], "model": "m"}],
        ),
        ({"predictions": [1, 2]}, None),
        ({"predictions": {"a": [1, 2, 3]}}, None),
        ({"outputs": [1, 2, 3]}, None),
        ([1, 2, 3], None),
    ],
)
def test_an_answer_is_parted_by_rows(answer: Any, parts: list[Any] | None) -> None:
    requests = [read(V1, b'{"instances": [1, 2]}'), read(V1, b'{"instances": [3]}')]
    found = type(requests[0]).part(requests, json.dumps(answer).encode(), None)
    assert (found and [json.loads(each.body) for each in found]) == parts


def test_tensors_are_joined_along_their_first_axis_and_each_answer_has_its_id() -> None:
    requests = [read(V2, v2_body([1.0], [2.0], id="a")), read(V2, v2_body([3.0], id="b"))]
    assert requests[0].kind == requests[1].kind
    joined = json.loads(type(requests[0]).join(requests))
    assert joined == {"inputs": [{"name": "x", "shape": [3, 1], "datatype": "FP64", "data": [1.0, 2.0, 3.0]}]}
    output = {"name": "y", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]}
    answer = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    found = type(requests[0]).part(requests, answer, None)
    assert found is not None
    answers = [json.loads(each.body) for each in found]
    assert [each["id"] for each in answers] == ["a", "b"]
    assert [each["outputs"][0]["data"] for each in answers] == [[1, 2], [3]]


def test_binary_tensors_are_joined_with_others_and_answered_as_they_asked() -> None:
    content = np.array([[5.0]]).tobytes()
    tensor = {"name": "x", "shape": [1, 1], "datatype": "FP64", "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    binary = read(V2, head + content, **{"inference-header-content-length": str(len(head)).encode()})
    plain = read(V2, v2_body([4.0], outputs=[{"name": "y"}]))
    assert binary.kind == plain.kind
    joined = json.loads(type(plain).join([plain, binary]))
    assert joined["inputs"][0]["data"] == [4.0, 5.0]
    output = {"name": "y", "shape": [2], "datatype": "INT64", "data": [4, 5]}
    found = type(plain).part([plain, binary], json.dumps({"model_name": "m", "outputs": [output]}).encode(), None)
    assert found is not None
    assert found[0].header_length is None
    assert json.loads(found[0].body)["outputs"][0]["data"] == [4]
    assert found[1].content_type == b"application/octet-stream"
    assert found[1].body[found[1].header_length :] == np.array([5]).tobytes()


def test_tensors_of_other_names_shapes_or_types_are_not_joined() -> None:
    kinds = {read(V2, v2_body(*rows)).kind for rows in ([[1.0]], [[1.0, 2.0]], [[1.0], [2.0]])}
    assert len(kinds) == 2
