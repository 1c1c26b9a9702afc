"""`colonnade up --tls-cert --tls-key --max-message`: what the gateway shows, and what a restart makes of it."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from click.testing import CliRunner

from colonnade.cli.main import main
from colonnade.security import certificates

from .product import Product, service

MODEL = """
from colonnade import Model
class Echo(Model):
    def predict(self, payload: dict):
        return {"predictions": payload["instances"]}
"""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.ensure(tmp_path_factory.mktemp("certs"), ("models.example.org", "localhost"))


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, certs: certificates.Certificates) -> Iterator[Product]:
    options = ("--tls-cert", str(certs.cert_path), "--tls-key", str(certs.key_path), "--max-message", "5000")
    product = Product(tmp_path_factory.mktemp("tls") / "state", *options).start()
    yield product
    product.stop()


@pytest.fixture
def trusting(certs: certificates.Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certs.ca_pem.decode())


def test_a_service_is_asked_over_tls(
    product: Product, certs: certificates.Certificates, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    predictor = {"model": {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}}
    product.apply(service("echo", predictor, **{"colonnade.dev/trust-code": "true"}))
    assert product.http.startswith("https://")
    status = json.loads(product.colonnade("get", "isvc", "echo", "-o", "json"))["status"]
    assert status["url"] == "https://echo-default.example.com"
    assert status["address"]["url"] == f"{product.http}/serving/default/echo"
    url = f"https://localhost:{port(product)}/serving/default/echo/v1/models/echo:predict"
    with httpx.Client(http2=True, verify=trusting, trust_env=False) as client:
        answers = [client.post(url, json={"instances": [n]}) for n in range(3)]
    assert [answer.json() for answer in answers] == [{"predictions": [n]} for n in range(3)]
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    data = json.dumps({"instances": [7]})  # by 127.0.0.1, which the certificate does not name
    assert json.loads(product.colonnade("predict", "echo", "-d", "-", data=data)) == {"predictions": [7]}


def test_a_session_is_resumed(product: Product, trusting: ssl.SSLContext) -> None:
    session, reused = ask(product, trusting, None)
    assert not reused
    assert ask(product, trusting, session)[1]


def ask(
    product: Product, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    with (
        socket.create_connection(("127.0.0.1", port(product)), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as sock,
    ):
        sock.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        return sock.session, bool(sock.session_reused)


def test_grpc_takes_messages_up_to_the_limit(product: Product, certs: certificates.Certificates) -> None:
    credentials = grpc.ssl_channel_credentials(certs.ca_pem)
    where = f"localhost:{product.endpoints['grpc'].rpartition(':')[2]}"
    with grpc.secure_channel(where, credentials) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"\x0a\x00" * 3000, timeout=30)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "6000 bytes is over the limit of 5000" in refused.value.details()


def test_a_restart_adopts_the_gateway_unless_its_certificate_is_another(
    product: Product, certs: certificates.Certificates, trusting: ssl.SSLContext
) -> None:
    first = product.gateway_pid()
    product.kill_control_plane()
    product.start()
    assert product.gateway_pid() == first
    product.kill_control_plane()
    certs.cert_path.unlink()  # it is made anew, by the same authority
    certificates.ensure(certs.cert_path.parent, ("models.example.org", "localhost"))
    product.start()
    assert product.gateway_pid() != first
    ask(product, trusting, None)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--tls-cert", "/nowhere/a.pem"), "--tls-cert and --tls-key need each other"),
        (("--tls-cert", "/nowhere/a.pem", "--tls-key", "/b"), "--tls-cert /nowhere/a.pem cannot be read: No such file"),
    ],
)
def test_files_that_cannot_be_used_are_refused_before_anything_starts(
    tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    shown = CliRunner().invoke(main, ["--state-dir", str(tmp_path / "state"), "up", *words])
    assert shown.exit_code == 1
    assert text in shown.output
    assert not (tmp_path / "state").exists()


def port(product: Product) -> int:
    return int(product.http.rpartition(":")[2])
