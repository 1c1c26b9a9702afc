"""Nothing that a client can send raises anything but `InvalidInput`, and its words are ours."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from colonnade.errors import InferenceError, InvalidInput
from colonnade.wire import v2
from colonnade.wire.tensors import DTYPES, InferResponse

LEAKS = re.compile(r"numpy|Traceback|Error|dtype|object at")

SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-3, 9) | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner), max_leaves=8
)
SHAPES = st.lists(st.integers(-2, 4) | st.integers(), max_size=4) | JSON
PARAMETERS = st.none() | st.fixed_dictionaries(
    {}, optional={"binary_data_size": st.integers(-5, 50) | JSON, "binary_data": JSON, "content_type": JSON}
)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", ""]) | JSON,
        "shape": SHAPES,
        "datatype": st.sampled_from([*DTYPES, "FLOAT"]) | JSON,
        "data": st.lists(SCALARS, max_size=6) | st.lists(st.lists(SCALARS, max_size=3), max_size=3) | JSON,
        "parameters": PARAMETERS | JSON,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=3) | JSON},
    optional={
        "id": JSON,
        "parameters": PARAMETERS | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": JSON}, optional={"parameters": PARAMETERS}), max_size=2)
        | JSON,
    },
)


def refusal(body: bytes, header_length: int | None) -> str:
    """What is said against a request, which is answered with its own inputs; empty if nothing is."""
    try:
        request = v2.decode(body, header_length, "m", None)
        v2.encode(InferResponse("m", request.inputs), request)
    except InvalidInput as error:
        return error.message
    except InferenceError as error:  # the one answer that JSON cannot carry
        return error.message if "not UTF-8" not in error.message else ""
    return ""


@given(st.binary(max_size=300), st.none() | st.integers(-5, 400))
@example(b"[" * 50_000, None)
@example(b'{"inputs":[{"name":"a","shape":[2],"datatype":"INT8","data":[' + b"9" * 5000 + b"]}]}", None)
def test_any_bytes(body: bytes, header_length: int | None) -> None:
    assert not LEAKS.search(refusal(body, header_length))


@settings(max_examples=400)
@given(DOCUMENTS | JSON, st.binary(max_size=40), st.sampled_from([None, 0, -1, 1]))
def test_any_document(document: Any, raw: bytes, shift: int | None) -> None:
    text = json.dumps(document).encode()
    header_length = None if shift is None else len(text) + shift
    assert not LEAKS.search(refusal(text if shift is None else text + raw, header_length))
