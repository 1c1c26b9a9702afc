"""Garbage at the running product: never a 500, never a hang, never a type name or a path of ours in an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .product import Product, service

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["input-0", "", "x"]) | JSON,
        "shape": st.lists(st.integers(-2, 2**40), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "BOOL", "FP16", "UINT8", "NONE"]) | JSON,
        "data": st.lists(st.floats() | st.integers() | st.text(max_size=4), max_size=6) | JSON,
    }
)
V2 = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | JSON}, optional={"id": JSON, "parameters": JSON, "outputs": JSON}
)
V1 = st.fixed_dictionaries({"instances": JSON | st.lists(st.lists(st.floats(), max_size=5), max_size=3)}) | JSON
LEAKS = re.compile(rb"Traceback|Error :|<class|site-packages|/src/colonnade|numpy\.|msgspec|Exception")

examples = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def asked(product: Product, iris_model: Path) -> Iterator[tuple[Product, httpx.Client]]:
    product.apply(service("fuzzed", {"sklearn": {"storageUri": str(iris_model)}}))
    token = (product.state / "token").read_text().strip()
    with httpx.Client(timeout=10, headers={"X-Token": token}) as client:
        yield product, client


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert not LEAKS.search(answer.content), answer.text


@examples
@given(body=V1)
def test_v1(asked: tuple[Product, httpx.Client], body: object) -> None:
    product, client = asked
    check(client.post(f"{product.http}/v1/models/fuzzed:predict", content=dumps(body)))


@examples
@given(body=V2)
def test_v2(asked: tuple[Product, httpx.Client], body: object) -> None:
    product, client = asked
    check(client.post(f"{product.http}/v2/models/fuzzed/infer", content=dumps(body)))


@examples
@given(body=st.binary(max_size=200), length=st.integers(-5, 300) | st.text("0123456789abc-", max_size=4))
def test_binary_tensors(asked: tuple[Product, httpx.Client], body: bytes, length: object) -> None:
    product, client = asked
    headers = {"Inference-Header-Content-Length": str(length)}
    check(client.post(f"{product.http}/v2/models/fuzzed/infer", content=body, headers=headers))


@examples
@given(
    body=JSON | st.fixed_dictionaries({"metadata": JSON, "spec": st.fixed_dictionaries({"predictor": JSON})}),
    method=st.sampled_from(["POST", "PUT", "PATCH"]),
    patch=st.sampled_from(
        ["application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"]
    ),
)
def test_the_api(asked: tuple[Product, httpx.Client], body: object, method: str, patch: str) -> None:
    product, client = asked
    path = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
    if isinstance(body, dict) and method == "POST":
        body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", **body}
    answer = client.request(
        method,
        product.endpoints["api"] + path + ("" if method == "POST" else "/fuzzed"),
        content=dumps(body),
        params={"dryRun": "All", "fieldManager": "fuzz"},
        headers={
            "Content-Type": patch if method == "PATCH" else "application/json",
            "Authorization": f"Bearer {client.headers['X-Token']}",
        },
    )
    check(answer)
    assert answer.is_success or answer.json()["kind"] == "Status"


def dumps(value: object) -> bytes:
    """JSON as careless clients write it: NaN and lone surrogates included."""
    import json

    return json.dumps(value).encode("utf-8", "surrogatepass")
