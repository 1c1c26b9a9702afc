"""`colonnade up --require-token`: on a machine that several people use, loopback is not private."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from .product import Product


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("guarded") / "state", "--require-token").start()
    yield product
    product.stop()


def token(product: Product) -> str:
    return (Path(product.state) / "token").read_text().strip()


def test_http_needs_the_token_on_loopback(guarded: Product) -> None:
    url = f"{guarded.http}/v1/models/nobody:predict"
    assert httpx.post(url, json={}).status_code == 401
    assert httpx.post(url, json={}, headers={"Authorization": "Bearer wrong-wrong-wrong"}).status_code == 401
    assert httpx.post(url, json={}, headers={"Authorization": f"Bearer {token(guarded)}"}).status_code == 404


def test_grpc_needs_the_token_on_loopback(guarded: Product) -> None:
    with grpc.insecure_channel(guarded.endpoints["grpc"]) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for metadata, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            ((("authorization", f"Bearer {token(guarded)}"),), grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                infer(b"\x0a\x06nobody", metadata=metadata, timeout=30)
            assert refused.value.code() is code
