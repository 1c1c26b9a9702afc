"""`colonnade predict`: one question to a service through the gateway, in the protocol that the body is in."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any, Literal

import click
import httpx
import msgspec

from colonnade.cli import output
from colonnade.cli.exits import CommandFailed, Unreachable
from colonnade.cli.state import Target, endpoints, pass_target
from colonnade.cli.targets import namespace_option
from colonnade.control.layout import Endpoints, Layout
from colonnade.errors import Error, InvalidInput

Protocol = Literal["v1", "v2", "grpc"]


@click.command("predict", short_help="ask a service for a prediction")
@click.argument("name")
@click.option("-d", "--data", required=True, help="File with the JSON body, or - for standard input.")
@namespace_option
@click.option(
    "--protocol",
    type=click.Choice(["auto", "v1", "v2", "grpc"]),
    default="auto",
    show_default=True,
    help="auto: V2 for a list of named tensors, else V1. grpc takes a V2 body.",
)
@click.option("--model", help="Name of the model inside the service, where it is not the service's name.")
@click.option("--explain", is_flag=True, help="Ask the explainer instead (V1).")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for the answer.")
@output.form_option("json", "yaml", default="json")
@pass_target
def command(
    target: Target,
    name: str,
    data: str,
    namespace: str,
    protocol: str,
    model: str | None,
    explain: bool,
    timeout: float,
    form: output.Form,
) -> None:
    """Ask a service for a prediction and print its answer as JSON."""
    body = _read(data)
    spoken = detect(body) if protocol == "auto" else protocol
    addresses = endpoints(target.state_dir)
    if spoken == "grpc":
        answer = _grpc(addresses, target, name, namespace, model or name, body, timeout)
    else:
        answer = _http(addresses, target, name, namespace, path(spoken, model or name, explain), body, timeout)
    if form == "yaml":
        output.document(answer, form)
    else:
        click.echo(msgspec.json.encode(answer))


def detect(body: bytes) -> Protocol:
    """V2 if `inputs` is a list of objects with a datatype, else V1.

    Raises:
        CommandFailed: the body is not a JSON object.
    """
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise CommandFailed(f"the data is not JSON: {error}") from None
    if not isinstance(decoded, dict):
        raise CommandFailed('the data must be a JSON object, such as {"instances": [[1, 2, 3]]}')
    inputs = decoded.get("inputs")
    tensors = isinstance(inputs, list) and inputs and all(isinstance(x, dict) and "datatype" in x for x in inputs)
    return "v2" if tensors else "v1"


def path(protocol: str, model: str, explain: bool) -> str:
    """The path of the call below the service."""
    if protocol == "v2" and not explain:
        return f"/v2/models/{model}/infer"
    return f"/v1/models/{model}:{'explain' if explain else 'predict'}"


def _read(data: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if data == "-" else Path(data).read_bytes()
    except OSError as error:
        raise CommandFailed(f"--data {data}: {error.strerror}") from None


def _http(
    addresses: Endpoints, target: Target, name: str, namespace: str, tail: str, body: bytes, timeout: float
) -> Any:
    url = f"{addresses.http}/serving/{namespace}/{name}{tail}"
    headers = {"Content-Type": "application/json", **_credentials(target)}
    try:
        answer = httpx.post(
            url, content=body, headers=headers, timeout=timeout, trust_env=False, verify=_trust(addresses) or True
        )
    except httpx.TransportError as error:
        raise Unreachable(f"{url} does not answer ({error or type(error).__name__})") from None
    if not answer.is_success:
        raise CommandFailed(_refusal(answer, name))
    return readable(answer.content, answer.headers.get("inference-header-content-length"))


def readable(body: bytes, header_length: str | None) -> Any:
    """An answer as JSON: binary tensors, if it has any, as lists.

    Raises:
        CommandFailed: the answer is not what its protocol says.
    """
    try:
        if header_length is None:
            return msgspec.json.decode(body)
        from colonnade.wire.rawdata import from_raw  # and with it numpy, which most answers do not need

        offset = int(header_length)
        answer = msgspec.json.decode(body[:offset])
        for output_ in answer["outputs"]:
            size = (output_.get("parameters") or {}).pop("binary_data_size", None)
            if size is not None:
                array = from_raw(output_["name"], output_["datatype"], output_["shape"], body, offset, size)
                output_["data"] = [
                    value.decode(errors="replace") if isinstance(value, bytes) else value
                    for value in array.ravel().tolist()
                ]
                offset += size
        return answer
    except (ValueError, KeyError, TypeError, InvalidInput) as error:
        raise CommandFailed(f"the answer is neither JSON nor binary tensors ({error}): {body[:200]!r}") from None


def _trust(addresses: Endpoints) -> ssl.SSLContext | None:
    """TLS settings for the gateway: it is known by its certificate, which need not name this machine's loopback."""
    if not addresses.certificate:
        return None
    from colonnade.net import tls

    try:
        return tls.pinned_context(Path(addresses.certificate))
    except Error as error:
        raise CommandFailed(error.message) from None


def _refusal(answer: httpx.Response, name: str) -> str:
    try:
        text = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = answer.text[:300]
    hint = f"; `colonnade why {name}` says more" if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else ""
    return f"{answer.status_code}: {text}{hint}"


def _credentials(target: Target) -> dict[str, str]:
    """The platform's own token: the gateway asks for one wherever it is bound beyond loopback."""
    try:
        return {"Authorization": f"Bearer {Layout(target.state_dir).token.read_text().strip()}"}
    except OSError:
        return {}


def _grpc(
    addresses: Endpoints, target: Target, name: str, namespace: str, model: str, body: bytes, timeout: float
) -> Any:
    from google.protobuf.json_format import MessageToDict

    from colonnade.net import Address, grpc_client
    from colonnade.wire import grpc as codec
    from colonnade.wire import v2
    from colonnade.wire.grpc_framing import Code
    from colonnade.wire.openinference_pb2 import ModelInferResponse

    try:
        request = codec.encode_request(v2.decode(body, None, model, None))
    except Error as error:
        raise CommandFailed(f"the data is not a V2 request: {error.message}") from None
    call = grpc_client.call(
        Address.parse(addresses.grpc),
        f"/{codec.SERVICE}/ModelInfer",
        request.SerializeToString(),
        authority=f"{name}.{namespace}",  # the gateway picks the service by it, as by Host over HTTP
        metadata=[(key.lower().encode(), value.encode()) for key, value in _credentials(target).items()],
        timeout=timeout,
        ssl=_trust(addresses),
    )
    try:
        answer = asyncio.run(call)
    except grpc_client.CallFailed as error:
        failure = Unreachable if error.code is Code.UNAVAILABLE else CommandFailed
        raise failure(str(error)) from None
    return MessageToDict(ModelInferResponse.FromString(answer), preserving_proto_field_name=True)
