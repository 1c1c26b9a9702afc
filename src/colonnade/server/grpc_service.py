"""The Open Inference Protocol over gRPC: all eight methods, with health and reflection beside them.

Sources: the Open Inference Protocol (messages), KServe (status codes). `grpc.aio` runs each call as a task, so an
inference is a coroutine here, over the same execution that HTTP uses with callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from colonnade.errors import InvalidInput, TooLarge
from colonnade.server import health
from colonnade.server.execution import Execution
from colonnade.server.identity import new_id
from colonnade.server.lane import into
from colonnade.server.metrics import ReplicaMetrics
from colonnade.server.repository import Repository
from colonnade.server.routes import SERVER_NAME
from colonnade.version import __version__
from colonnade.wire import descriptors, failures, v2
from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.tensors import InferRequest, InferResponse

Context = Any  # grpc.aio.ServicerContext: the library has no types

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class InferenceService:
    """The methods of `inference.GRPCInferenceService`.

    Attributes:
        active: calls in progress.
    """

    def __init__(self, repository: Repository, metrics: ReplicaMetrics, max_message: int) -> None:
        """`max_message`: largest answer in bytes."""
        self.active = 0
        self._max_message = max_message
        self._repository = repository
        self._metrics = metrics

    def handler(self) -> Any:
        """What a gRPC server takes to serve them."""
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(getattr(self, name), request)  # bytes to bytes: a failure of grpc's own would be UNKNOWN
            )
            for name, (request, _) in codec.METHODS.items()
        }
        return grpc.method_handlers_generic_handler(codec.SERVICE, methods)

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Always true: who is asked is alive."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Whether every model answers."""
        return pb.ServerReadyResponse(ready=self._repository.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Whether one model answers; NOT_FOUND for an unknown name or version."""
        hosted = self._repository.get(request.name)
        if hosted.ready:
            hosted.serving(request.version or None)
        return pb.ModelReadyResponse(ready=hosted.ready and not self._repository.draining)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Name, version and extensions of the server."""
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=v2.EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """Versions, platform and tensors of one model."""
        execution = self._repository.get(request.name).serving(request.version or None)
        model = execution.model
        return codec.model_metadata(
            request.name, [execution.version], model.platform, list(model.inputs), list(model.outputs)
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> bytes:
        """One inference, as the bytes of a `ModelInferResponse`; UNAVAILABLE while the model is not loaded."""
        hosted = self._repository.get(request.model_name)
        traffic = self._metrics.traffic(hosted.name, "grpc")
        traffic.begin()
        code = grpc.StatusCode.CANCELLED.name
        try:
            execution = hosted.serving(request.model_version or None)
            decoded = codec.decode(request)
            decoded.id = decoded.id or new_id()
            filled: dict[str, str] = {}
            response = await _infer(execution, decoded, _headers(execution, context), filled, request.ByteSize())
            message = codec.encode(response, decoded).SerializeToString()
            if len(message) > self._max_message:
                size, limit = len(message), self._max_message
                raise TooLarge(f"The answer has {size} bytes, over the limit of {limit} (--max-message); ask for less")
            if filled:
                context.set_trailing_metadata([(name.lower(), str(value)) for name, value in filled.items()])
            code = grpc.StatusCode.OK.name
            return message
        except Exception as error:
            known = failures.opaque(error)
            code = _CODES[failures.grpc_status(known)[0]].name
            raise known from error
        finally:
            traffic.end(code)

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Loads or reloads a model; UNAVAILABLE with the cause if that fails."""
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Unloads a model after its last request."""
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    def _guarded(
        self, method: Callable[[Any, Context], Awaitable[Message | bytes]], kind: type[Message]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def call(body: bytes, context: Context) -> bytes:
            self.active += 1
            try:
                answer = await method(_decoded(kind, body), context)
                return answer if isinstance(answer, bytes) else answer.SerializeToString()
            except Exception as error:
                code, details = failures.grpc_status(error)
                await context.abort(_CODES[code], details)
                raise  # never reached: `abort` raises
            finally:
                self.active -= 1

        return call


class GrpcServer:
    """The gRPC port of a replica. Use `open`.

    Attributes:
        port: the bound TCP port; 0 on a Unix socket.
    """

    def __init__(self, server: Any, service: InferenceService, port: int) -> None:
        self.port = port
        self._server = server
        self._service = service

    @classmethod
    async def open(cls, address: str, repository: Repository, metrics: ReplicaMetrics, max_message: int) -> GrpcServer:
        """Listens on `host:port` or `unix:path` and serves.

        Args:
            address: where to listen; port 0 picks a free one.
            repository: the models.
            metrics: what is counted.
            max_message: largest message in bytes, both ways.

        Raises:
            OSError: the address cannot be bound.
        """
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_message),
                ("grpc.max_send_message_length", max_message),
                ("grpc.so_reuseport", 0),  # a second server on the port is a mistake to report, not load balancing
            ]
        )
        service = InferenceService(repository, metrics, max_message)
        server.add_generic_rpc_handlers((service.handler(),))
        whole = frozenset({"", codec.SERVICE})
        health_pb2_grpc.add_HealthServicer_to_server(health.Health(repository, whole), server)
        reflection.enable_server_reflection(descriptors.SERVICES, server, descriptors.pool())
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: {error}") from error
        await server.start()
        return cls(server, service, 0 if address.startswith("unix:") else port)

    async def drain(self, grace: float) -> None:
        """Takes no new calls, lets inferences in flight end for `grace` seconds, then cuts what is left.

        Streams that clients keep open, such as reflection, are not waited for.
        """
        stopping = asyncio.ensure_future(self._server.stop(grace))
        while self._service.active and not stopping.done():
            await asyncio.wait({stopping}, timeout=0.01)
        await asyncio.gather(stopping, self._server.stop(None))


async def _infer(
    execution: Execution, request: InferRequest, headers: Mapping[str, str], filled: dict[str, str], size: int
) -> InferResponse:
    future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
    ticket = execution.start(execution.infer, request, headers, filled, size, into(future))
    try:
        return await future
    except asyncio.CancelledError:
        if ticket is not None:
            ticket.cancel()
        raise


def _headers(execution: Execution, context: Context) -> Mapping[str, str]:
    if not execution.takes_headers:
        return {}
    return {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}


def _decoded(kind: type[Message], body: bytes) -> Message:
    try:
        return kind.FromString(body)
    except DecodeError:
        name = kind.DESCRIPTOR.full_name
        raise InvalidInput(f"The request's bytes are no {name}; send that protobuf message") from None
