"""The Triton client's own encoder and decoder, unmodified, against ours."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from colonnade.wire import v2
from colonnade.wire.tensors import DTYPES, InferResponse, Tensor

ARRAYS: dict[str, np.ndarray] = {
    datatype: np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    for datatype, dtype in DTYPES.items()
    if datatype != "BYTES"
}
ARRAYS["BF16"] = ARRAYS["BF16"].astype(ml_dtypes.bfloat16)
ARRAYS["BYTES"] = np.array([["a", "ß", ""], ["d", "e", "f" * 300]], dtype=object)
ONLY_BINARY = ("FP16", "BF16")
AS_BYTES = np.array([[b"a", "ß".encode(), b""], [b"d", b"e", b"f" * 300]], dtype=object)


def expected(datatype: str) -> np.ndarray:
    return AS_BYTES if datatype == "BYTES" else ARRAYS[datatype]


def triton_body(inputs: list[tuple[str, str, bool]], outputs: list[Any], **fields: Any) -> tuple[bytes, int | None]:
    tensors = []
    for name, datatype, binary in inputs:
        tensor = InferInput(name, list(ARRAYS[datatype].shape), datatype)
        tensor.set_data_from_numpy(ARRAYS[datatype], binary_data=binary)
        tensors.append(tensor)
    return InferenceServerClient.generate_request_body(tensors, outputs=outputs, **fields)


@pytest.mark.parametrize("datatype", DTYPES)
def test_their_binary_requests_decode(datatype: str) -> None:
    body, length = triton_body([("x", datatype, True)], [], request_id="7")
    request = v2.decode(body, length, "m", None)
    assert request.id == "7"
    assert request.inputs[0].datatype == datatype
    np.testing.assert_array_equal(request.inputs[0].data, expected(datatype))


@pytest.mark.parametrize("datatype", [datatype for datatype in DTYPES if datatype not in ONLY_BINARY])
def test_their_json_requests_decode(datatype: str) -> None:
    body, length = triton_body([("x", datatype, False)], [InferRequestedOutput("y", binary_data=False)])
    assert length is None
    request = v2.decode(body, length, "m", None)
    np.testing.assert_array_equal(request.inputs[0].data, expected(datatype))


def test_their_mixed_requests_decode() -> None:
    body, length = triton_body(
        [("a", "FP32", True), ("b", "INT8", False), ("c", "BYTES", True)], [], parameters={"p": 1}
    )
    request = v2.decode(body, length, "m", None)
    assert request.parameters == {"p": 1, "binary_data_output": True}
    for tensor, datatype in zip(request.inputs, ("FP32", "INT8", "BYTES"), strict=True):
        np.testing.assert_array_equal(tensor.data, expected(datatype))


@pytest.mark.parametrize("binary", [True, False])
def test_they_decode_our_answers(binary: bool) -> None:
    datatypes = [datatype for datatype in DTYPES if binary or datatype not in ONLY_BINARY]
    asked = [InferRequestedOutput(datatype, binary_data=binary) for datatype in datatypes]
    body, length = triton_body([("x", "INT8", True)], asked)
    response = InferResponse("m", [Tensor.of(datatype, expected(datatype)) for datatype in DTYPES])
    header_length, chunks = v2.encode(response, v2.decode(body, length, "m", None))
    result: InferResult = InferenceServerClient.parse_response_body(b"".join(chunks), header_length=header_length)
    for datatype in datatypes:
        wanted = ARRAYS["BYTES"] if datatype == "BYTES" and not binary else expected(datatype)
        np.testing.assert_array_equal(result.as_numpy(datatype), wanted)
