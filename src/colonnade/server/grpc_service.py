"""The Open Inference Protocol over gRPC, but for inference itself: what is answered from values at hand, and the calls
that load and unload.

Sources: the Open Inference Protocol (messages), KServe (status codes).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from colonnade import defaults
from colonnade.net import Exchange, grpc
from colonnade.net.background import Background
from colonnade.net.grpc import CallHead
from colonnade.server.repository import Repository
from colonnade.server.routes import SERVER_NAME
from colonnade.version import __version__
from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire import v2


class InferenceService:
    """The unary methods of `inference.GRPCInferenceService` that do not run a model.

    Attributes:
        methods: their names by path.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._changes = Background()
        self._answers: dict[str, Callable[[Any], Message | Awaitable[Message]]] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._model,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        self.methods = {f"/{codec.SERVICE}/{name}".encode(): name for name in self._answers}

    def call(self, method: str, exchange: Exchange, head: CallHead) -> None:
        """Takes one call of a method."""
        kind = codec.METHODS[method][0]

        def collected(body: bytes) -> None:
            answer = self._answers[method](grpc.parsed(kind, body))
            if isinstance(answer, Message):
                grpc.reply(exchange, answer.SerializeToString())
            else:
                self._later(exchange, answer)

        grpc.collect(exchange, head, defaults.MAX_GRPC_MESSAGE_BYTES, collected)

    def _later(self, exchange: Exchange, answer: Awaitable[Message]) -> None:
        """Answers when a change is done. It goes on if the caller leaves: half a load helps nobody."""

        async def run() -> None:
            try:
                message = await answer
            except Exception as error:
                grpc.refuse(exchange, error)
            else:
                grpc.reply(exchange, message.SerializeToString())

        self._changes.start(run())

    def _live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def _ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._repository.ready)

    def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        hosted = self._repository.get(request.name)
        if hosted.ready:
            hosted.serving(request.version or None)
        return pb.ModelReadyResponse(ready=hosted.ready and not self._repository.draining)

    def _server(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=v2.EXTENSIONS)

    def _model(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        execution = self._repository.get(request.name).serving(request.version or None)
        model = execution.model
        return codec.model_metadata(
            request.name, [execution.version], model.platform, list(model.inputs), list(model.outputs)
        )

    async def _load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def _unload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)
