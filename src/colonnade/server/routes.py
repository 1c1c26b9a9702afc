"""From a request's path to what answers it.

Inference is found in a dictionary of raw path bytes, before anything is decoded. All else goes through the parser in
`paths` and is answered here, at once, from values at hand: nothing on this path waits for a model.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from colonnade.errors import (
    InvalidInput,
    MethodNotAllowed,
    ModelNotReady,
    NotFound,
    Unavailable,
    UnsupportedMediaType,
)
from colonnade.net import App, Exchange
from colonnade.net.background import Background
from colonnade.net.handshake import offers_websocket
from colonnade.observe.metrics import CONTENT_TYPE
from colonnade.server import answers
from colonnade.server.call import HttpCall
from colonnade.server.compiling import Compiling
from colonnade.server.metrics import ReplicaMetrics, Traffic
from colonnade.server.paths import GET, POST, Operation, Target, parse
from colonnade.server.repository import Hosted, Repository
from colonnade.server.v1 import V1Call, V1ExplainCall
from colonnade.server.v2 import V2Call, V2StreamCall
from colonnade.version import __version__
from colonnade.wire import v2
from colonnade.wire.grpc_framing import is_grpc

SERVER_NAME = "colonnade"
_OPTIONS = b"OPTIONS"
_METRICS_TYPE = CONTENT_TYPE.encode("ascii")
_CALLS: dict[Operation, type[HttpCall]] = {
    Operation.V1_PREDICT: V1Call,
    Operation.V1_EXPLAIN: V1ExplainCall,
    Operation.V2_INFER: V2Call,
    Operation.V2_INFER_STREAM: V2StreamCall,
}

S = TypeVar("S", bound=msgspec.Struct)


class _IndexRequest(msgspec.Struct):
    ready: bool = False


class _LoadRequest(msgspec.Struct):
    parameters: dict[str, msgspec.Raw] = {}


class Router:
    """The HTTP application of a replica."""

    def __init__(
        self,
        repository: Repository,
        metrics: ReplicaMetrics,
        max_body: int,
        max_message: int,
        compiling: Compiling | None = None,
    ) -> None:
        """`max_body`: largest inflated body in bytes; `max_message`: largest gRPC message; `compiling`: what became of
        the model's compiled form, if it is of a kind that can have one."""
        self._repository = repository
        self._metrics = metrics
        self._max_body = max_body
        self._max_message = max_message
        self._compiling = compiling
        self._grpc: App | None = None
        self._hot: dict[bytes, tuple[type[HttpCall], Hosted, Traffic]] = {}
        self._changes = Background()
        self._answers: dict[Operation, Callable[[Exchange, Target], None]] = {
            Operation.ALIVE: self._alive,
            Operation.METRICS: self._render,
            Operation.V1_MODELS: self._models,
            Operation.V1_MODEL: self._model_ready,
            Operation.V2_SERVER: self._server,
            Operation.V2_LIVE: self._live,
            Operation.V2_READY: self._ready,
            Operation.V2_MODELS: self._models,
            Operation.V2_MODEL: self._model,
            Operation.V2_MODEL_READY: self._model_ready,
            Operation.V2_MODEL_COMPILE: self._compile,
            Operation.V2_INDEX: self._index,
            Operation.V2_LOAD: self._load,
            Operation.V2_UNLOAD: self._unload,
        }
        repository.on_change.append(self._index_paths)

    def __call__(self, exchange: Exchange) -> None:
        """Takes one request."""
        hot = self._hot.get(exchange.path)
        if hot is not None and exchange.method == POST:
            call, hosted, traffic = hot
            call(exchange, hosted, None, traffic, self._max_body)
            return
        try:
            if is_grpc(exchange.headers.get(b"content-type", b"")):
                self._call(exchange)
            else:
                self._slow(exchange)
        except Exception as error:
            answers.refuse(exchange, error)

    def _call(self, exchange: Exchange) -> None:
        """Takes a gRPC call. What it needs is imported with the first one: no start without gRPC waits for it."""
        if not exchange.takes_trailers:
            raise UnsupportedMediaType("gRPC needs HTTP/2; this request came over HTTP/1.")
        if self._grpc is None:
            from colonnade.server.grpc_app import GrpcApp

            self._grpc = GrpcApp(self._repository, self._metrics, self._max_message)
        self._grpc(exchange)

    def _converse(self, exchange: Exchange, target: Target) -> None:
        """Takes the handshake of a WebSocket. Its library is imported with the first one."""
        from colonnade.server import websocket

        websocket.begin(exchange, self._repository.get(target.model), target.version, self._metrics, self._max_body)

    def _slow(self, exchange: Exchange) -> None:
        if exchange.path == b"*" and exchange.method == _OPTIONS:
            _tell_methods(exchange, b"GET, HEAD, POST, OPTIONS")
            return
        target = parse(exchange.path)
        if target is None:
            path = exchange.path.decode("latin-1")
            raise NotFound(f"No route {path}; this server has /v1/models, /v2, /v2/models and /metrics.")
        operation = target.operation
        if operation is Operation.V2_INFER and b"upgrade" in exchange.headers and offers_websocket(exchange):
            self._converse(exchange, target)
            return
        allowed = operation.method
        if exchange.method == _OPTIONS:
            _tell_methods(exchange, _methods(allowed))
            return
        if exchange.method != allowed and not (allowed == GET and exchange.method == b"HEAD"):
            _refuse_method(exchange, allowed)
            return
        call = _CALLS.get(operation)
        if call is None:
            self._answers[operation](exchange, target)
            return
        hosted = self._repository.get(target.model)
        traffic = self._metrics.traffic(hosted.name, call.protocol)
        call(exchange, hosted, target.version, traffic, self._max_body)

    def _index_paths(self) -> None:
        hot: dict[bytes, tuple[type[HttpCall], Hosted, Traffic]] = {}
        for name, hosted in self._repository.hosted.items():
            safe = quote(name, safe="").encode("ascii")
            paths: dict[bytes, type[HttpCall]] = {
                b"/v1/models/%b:predict" % safe: V1Call,
                b"/v2/models/%b/infer" % safe: V2Call,
            }
            for path, call in paths.items():
                hot[path] = (call, hosted, self._metrics.traffic(name, call.protocol))
        self._hot = hot

    # What is answered from values at hand.

    def _alive(self, exchange: Exchange, target: Target) -> None:
        answers.reply(exchange, 200, b'{"status":"alive"}')

    def _render(self, exchange: Exchange, target: Target) -> None:
        answers.reply(exchange, 200, self._metrics.render(self._repository), _METRICS_TYPE)

    def _server(self, exchange: Exchange, target: Target) -> None:
        answers.reply(exchange, 200, v2.server_metadata(SERVER_NAME, __version__))

    def _live(self, exchange: Exchange, target: Target) -> None:
        answers.reply(exchange, 200, v2.live(True))

    def _ready(self, exchange: Exchange, target: Target) -> None:
        if not self._repository.ready:
            raise Unavailable("Server is not ready.")
        answers.reply(exchange, 200, v2.ready(True))

    def _models(self, exchange: Exchange, target: Target) -> None:
        answers.reply(exchange, 200, v2.model_names(self._repository.hosted))

    def _model(self, exchange: Exchange, target: Target) -> None:
        execution = self._repository.get(target.model).serving(target.version)
        model = execution.model
        body = v2.model_metadata(target.model, [execution.version], model.platform, model.inputs, model.outputs)
        answers.reply(exchange, 200, body)

    def _model_ready(self, exchange: Exchange, target: Target) -> None:
        self._repository.get(target.model).serving(target.version)
        if self._repository.draining:
            raise ModelNotReady(target.model)
        answers.reply(exchange, 200, v2.model_ready(target.model, True))

    def _compile(self, exchange: Exchange, target: Target) -> None:
        self._repository.get(target.model)
        if self._compiling is None:
            raise NotFound(f"Model {target.model} comes from a script, and only models in files are compiled.")
        answers.reply(exchange, 200, msgspec.json.encode(self._compiling.status))

    # The repository.

    def _index(self, exchange: Exchange, target: Target) -> None:
        def answer(body: bytes) -> None:
            only_ready = _optional(body, _IndexRequest).ready
            entries = [
                (hosted.name, hosted.version, str(hosted.state), hosted.reason)
                for hosted in self._repository.hosted.values()
                if hosted.ready or not only_ready
            ]
            answers.reply(exchange, 200, v2.repository_index(entries))

        exchange.collect(partial(_guarded, exchange, answer))

    def _load(self, exchange: Exchange, target: Target) -> None:
        def begin(body: bytes) -> None:
            parameters = _optional(body, _LoadRequest).parameters
            if parameters:
                names = ", ".join(sorted(parameters))
                raise InvalidInput(f"load parameters ({names}) are not supported; load the model without them")
            self._change(exchange, self._repository.load(target.model), v2.repository_loaded(target.model))

        exchange.collect(partial(_guarded, exchange, begin))

    def _unload(self, exchange: Exchange, target: Target) -> None:
        def begin(body: bytes) -> None:
            _optional(body, _LoadRequest)
            self._change(exchange, self._repository.unload(target.model), v2.repository_unloaded(target.model))

        self._repository.get(target.model)
        exchange.collect(partial(_guarded, exchange, begin))

    def _change(self, exchange: Exchange, change: Coroutine[Any, Any, None], answer: bytes) -> None:
        """Answers when the change is done. It goes on if the client leaves: half a load helps nobody."""

        async def run() -> None:
            try:
                await change
            except Exception as error:
                answers.refuse(exchange, error)
            else:
                answers.reply(exchange, 200, answer)

        self._changes.start(run())


def _guarded(exchange: Exchange, answer: Callable[[bytes], None], body: bytes) -> None:
    try:
        answer(body)
    except Exception as error:
        answers.refuse(exchange, error)


def _optional(body: bytes, kind: type[S]) -> S:
    """The body, or the defaults if there is none."""
    if not body:
        return kind()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not what this route takes: {error}") from None


def _refuse_method(exchange: Exchange, allowed: bytes) -> None:
    use = allowed.decode()
    text = f"{exchange.method.decode('latin-1')} is not allowed here; use {use}"
    answers.refuse(exchange, MethodNotAllowed(text), [(b"allow", _methods(allowed))])


def _tell_methods(exchange: Exchange, methods: bytes) -> None:
    """Answers OPTIONS."""
    answers.reply(exchange, 204, b"", headers=[(b"allow", methods)])


def _methods(allowed: bytes) -> bytes:
    """What `Allow` says of an operation."""
    return b"GET, HEAD, OPTIONS" if allowed == GET else b"%b, OPTIONS" % allowed
