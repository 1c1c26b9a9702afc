"""The predictor behind a transformer or an explainer, as the code of these sees it.

A component of a chain is told `--predictor_host` and `--predictor_protocol`, and what it calls may be any server of
KServe's protocols. So what is sent is put into the protocol that the predictor speaks, whichever protocol the caller
spoke: an array or V2's tensors over V1, V1's rows over V2 or gRPC.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from colonnade import errors
from colonnade.errors import Error
from colonnade.model.payloads import arguments
from colonnade.model.signatures import Form, Signature
from colonnade.net import Address, FetchedResponse, Header, Upstream, grpc_client
from colonnade.net.http2.upstream import Http2Upstream
from colonnade.server.predictor_protocol import TIMEOUT, PredictorProtocol
from colonnade.wire import grpc, openinference_pb2, v1, v2client
from colonnade.wire.failures import http_status
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor

FORWARDED = ("x-request-id", "x-b3-traceid", "authorization", "traceparent", "tracestate")
"""Headers of a request that its call to the predictor has, too. The first three are KServe's."""

_JSON = (b"content-type", b"application/json")
_ERRORS: Mapping[int, type[Error]] = {
    404: errors.NotFound,
    429: errors.Overloaded,
    501: errors.NotImplementedByModel,
    503: errors.Unavailable,
    504: errors.DeadlineExceeded,
}


class PredictorClient:
    """Asks one model of one server. Its connections belong to one event loop and are kept."""

    def __init__(
        self,
        address: Address,
        model: str,
        loop: asyncio.AbstractEventLoop,
        *,
        protocol: PredictorProtocol = PredictorProtocol.V1,
        timeout: float = TIMEOUT,
        tls: bool = False,
    ) -> None:
        """To be called on the thread of `loop`. `model` is its name there; `timeout` is in seconds; with `tls`, REST is
        spoken over TLS."""
        self.model = model
        self.protocol = protocol
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._timeout = timeout
        self._authority = address.authority.decode()
        self._rest = Upstream(address, tls=tls)
        self._grpc = Http2Upstream(address)

    async def predict(self, payload: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The predictor's answer: a dict over V1, an `InferResponse` over V2 and gRPC; an array if `payload` is one.

        Args:
            payload: V1's dict, an `InferRequest`, or an array of rows.
            headers: those of the request that is being answered; some of them are passed on.

        Raises:
            Error: the predictor refused or failed, with its status and text; or did not answer.
        """
        answer = await self._answer(payload, headers or {})
        return _array(answer) if isinstance(payload, np.ndarray) else answer

    def ask(self, payload: Any, headers: Mapping[str, str] | None = None) -> Any:
        """`predict` for hooks that are plain functions: waits for the answer on their thread.

        Raises:
            InferenceError: the hook runs on the event loop, which would wait for itself.
        """
        if threading.get_ident() == self._loop_thread:
            raise errors.InferenceError("predictor.ask waits, so an async hook says: await self.predictor.predict(...)")
        return asyncio.run_coroutine_threadsafe(self.predict(payload, headers), self._loop).result()

    def close(self) -> None:
        """Cut the connections."""
        self._rest.close()
        self._grpc.close()

    async def _answer(self, payload: Any, headers: Mapping[str, str]) -> dict[str, Any] | InferResponse:
        passed = [(name.encode(), headers[name].encode("latin-1")) for name in FORWARDED if name in headers]
        if self.protocol is PredictorProtocol.V1:
            body = v1.encode(_rows(payload))
            return _object((await self._post(f"/v1/models/{self.model}:predict", passed, body)).body)
        request = _tensors(payload, self.model)
        if self.protocol is PredictorProtocol.GRPC:
            return await self._infer(request, passed)
        found = await self._post(f"/v2/models/{self.model}/infer", passed, v2client.encode(request))
        length = dict(found.headers).get(b"inference-header-content-length", b"")
        return v2client.decode(found.body, int(length) if length.isdigit() else None)

    async def _post(self, path: str, passed: list[Header], body: bytes) -> FetchedResponse:
        found = await self._rest.fetch("POST", path, [_JSON, *passed], body, self._timeout)
        if found.status != 200:
            raise _failure(found.status, _text(found.body))
        return found

    async def _infer(self, request: InferRequest, passed: list[Header]) -> InferResponse:
        message = grpc.encode_request(request).SerializeToString()
        path = f"/{grpc.SERVICE}/ModelInfer"
        try:
            answer = await grpc_client.call_over(
                self._grpc, path, message, authority=self._authority, metadata=passed, timeout=self._timeout
            )
        except grpc_client.CallFailed as error:
            raise _failure(http_status(error.code), error.details) from None
        return grpc.decode_response(openinference_pb2.ModelInferResponse.FromString(answer))


_AS_REQUEST = arguments(Signature(Form.REQUEST, (), False, False, False, False), "", ())


def _rows(payload: Any) -> Any:
    """What V1 sends."""
    if isinstance(payload, InferRequest):
        arrays = {tensor.name: tensor.data for tensor in payload.inputs}
        return {"instances": next(iter(arrays.values()))} if len(arrays) == 1 else {"inputs": arrays}
    return {"instances": payload} if isinstance(payload, np.ndarray) else payload


def _tensors(payload: Any, model: str) -> InferRequest:
    """What V2 sends."""
    if isinstance(payload, np.ndarray):
        return InferRequest(model, [Tensor.of("input-0", payload)])
    request = _AS_REQUEST(payload)[0]
    if not isinstance(request, InferRequest):
        raise errors.InferenceError(f"preprocess returned a {type(payload).__name__}; V2 takes an InferRequest")
    inputs, parameters, outputs = request.inputs, request.parameters, request.outputs
    return InferRequest(model, inputs, request.id, None, parameters, outputs)


def _object(body: bytes) -> dict[str, Any]:
    """V1's answer."""
    try:
        return v1.decode(body)
    except errors.InvalidInput:
        raise errors.BadUpstream("The predictor's answer is no JSON object.") from None


def _array(answer: dict[str, Any] | InferResponse) -> np.ndarray:
    """The one array of an answer."""
    if isinstance(answer, InferResponse):
        if not answer.outputs:
            raise errors.BadUpstream("The predictor's answer has no outputs.")
        return answer.outputs[0].data
    try:
        return np.asarray(answer["predictions"])
    except (KeyError, ValueError):
        raise errors.BadUpstream('The predictor\'s answer has no regular "predictions".') from None


def _text(body: bytes) -> str:
    """What an answer says is wrong."""
    try:
        return str(msgspec.json.decode(body)["error"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        return body[:300].decode(errors="replace")


def _failure(status: int, text: str) -> Error:
    """The predictor's refusal as ours: the caller gets what a caller of the predictor would."""
    kind = _ERRORS.get(status) or (errors.InvalidInput if 400 <= status < 500 else errors.InferenceError)
    made = kind(text or f"The predictor answered with status {status}.")
    made.status = status if 400 <= status < 600 else 502
    return made
