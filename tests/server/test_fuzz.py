"""Any body on any route of a running replica: refused or answered, never a 500, never a hang, never a leak."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .replica import Replica, Start

CODE = """
    import numpy as np
    from colonnade import Model

    class Echo(Model):
        def predict(self, x: np.ndarray) -> np.ndarray:
            return x

        def explain(self, x: np.ndarray) -> np.ndarray:
            return x
"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
DATATYPES = st.sampled_from(["BOOL", "INT8", "UINT64", "INT64", "FP16", "FP32", "FP64", "BYTES", "FP99"]) | st.text()
TENSOR = st.fixed_dictionaries(
    {"name": st.text(max_size=3) | VALUES, "shape": st.lists(st.integers(-1, 4), max_size=3) | VALUES},
    optional={
        "datatype": DATATYPES,
        "data": st.lists(st.integers(-300, 300) | st.floats() | st.text(max_size=3), max_size=6) | VALUES,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "content_type"]), VALUES, max_size=2),
    },
)
V1 = st.fixed_dictionaries({}, optional={"instances": VALUES, "inputs": VALUES, "other": VALUES})
V2 = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3)}, optional={"id": VALUES, "outputs": VALUES, "parameters": VALUES}
)
BODIES = st.binary(max_size=60) | (V1 | V2 | VALUES).map(lambda value: json.dumps(value).encode())
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "inference-header-content-length": st.integers(-5, 90).map(str) | st.just("x"),
        "content-encoding": st.sampled_from(["gzip", "deflate", "br", "identity"]),
        "accept-encoding": st.sampled_from(["gzip", "deflate"]),
        "content-type": st.sampled_from(["application/json", "image/png", "application/cloudevents+json"]),
        "ce-specversion": st.sampled_from(["1.0", "9"]),
    },
)
PATHS = st.sampled_from(["/v1/models/m:predict", "/v1/models/m:explain", "/v2/models/m/infer", "/v2/repository/index"])


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", code=CODE).ready()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, body=BODIES, headers=HEADERS)
def test_no_request_breaks_the_replica(replica: Replica, path: str, body: bytes, headers: dict[str, Any]) -> None:
    answer = replica.http.post(path, content=body, headers=headers)
    assert answer.status_code in (200, 400, 415), answer.text
    if answer.status_code != 200:
        assert list(answer.json()) == ["error"]
        for leak in ("Traceback", "/work", "site-packages", "Error:", "msgspec", "numpy"):
            assert leak not in answer.text
    assert replica.process.poll() is None
