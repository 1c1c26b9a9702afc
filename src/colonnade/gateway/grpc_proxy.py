"""Forwards gRPC calls of any method to replicas, as bytes.

The service is found by host (the `:authority` of the call, which `grpc_front` hands over as metadata) or by the model
name that the first message carries (`peek`). Messages are never parsed, so methods the gateway has never heard of pass
as well, in all four streaming forms. Deadlines, metadata, cancellation, status, details and trailing metadata go
through unchanged. Without a host, the calls about the server itself are answered here, since there is no one server
behind.

This module is imported only by a gateway with a gRPC port: grpc costs 15 MB and a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from colonnade import defaults
from colonnade.gateway.access import REFUSED, Access
from colonnade.gateway.fleet import Fleet, Replica, Service
from colonnade.gateway.grpc_failures import Refused, never_sent, told, unreached
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.own import EXTENSIONS
from colonnade.gateway.peek import model_name
from colonnade.gateway.routes import LIFECYCLE, not_ready
from colonnade.version import __version__
from colonnade.wire import openinference_pb2 as oip

SERVICE = "inference.GRPCInferenceService"
AUTHORITY = "x-colonnade-authority"  # metadata that `grpc_front` adds: gRPC for Python does not show `:authority`
CLIENT = "x-colonnade-client"  # and the address of the client

# Methods known to be unary take the cheaper form of call. All others are forwarded as streams, which fits any form.
_UNARY = frozenset(
    f"/{SERVICE}/{method.name}"
    for method in oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    if not method.client_streaming and not method.server_streaming
)
# Of those, the ones that change nothing may go to a second replica whatever became of the first attempt.
_REPEATABLE = frozenset(
    f"/{SERVICE}/{name}" for name in ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata")
)
_OWN: dict[str, bytes] = {
    f"/{SERVICE}/ServerLive": oip.ServerLiveResponse(live=True).SerializeToString(),
    f"/{SERVICE}/ServerReady": oip.ServerReadyResponse(ready=True).SerializeToString(),
    f"/{SERVICE}/ServerMetadata": oip.ServerMetadataResponse(
        name="colonnade", version=__version__, extensions=EXTENSIONS
    ).SerializeToString(),
}
_LIFECYCLE = frozenset(f"/{SERVICE}/{name}" for name in ("RepositoryModelLoad", "RepositoryModelUnload"))
_OF_THIS_HOP = frozenset({"user-agent", "te", "content-type", AUTHORITY, CLIENT})

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", defaults.MAX_GRPC_MESSAGE_BYTES),
    ("grpc.max_send_message_length", defaults.MAX_GRPC_MESSAGE_BYTES),
]
_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),
]

Metadata = tuple[tuple[str, str | bytes], ...]


class GrpcProxy(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped
    """Takes every call that no other handler of the server has taken."""

    def __init__(self, fleet: Fleet, access: Access, metrics: GatewayMetrics) -> None:
        self._fleet = fleet
        self._access = access
        self.in_flight = 0
        metrics.follow_in_flight("grpc", lambda: self.in_flight)
        self._channels: dict[Replica, aio.Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler for a method: unary where the method is known to be, else streams both ways."""
        method: str = handler_call_details.method
        if method in _UNARY:

            async def unary(request: bytes, context: aio.ServicerContext) -> bytes:
                return await self._unary(method, request, context)

            return grpc.unary_unary_rpc_method_handler(unary)

        async def stream(requests: AsyncIterator[bytes], context: aio.ServicerContext) -> AsyncIterator[bytes]:
            async for response in self._stream(method, requests, context):
                yield response

        return grpc.stream_stream_rpc_method_handler(stream)

    async def close(self) -> None:
        """Close the channels to all replicas."""
        for channel in list(self._channels.values()):
            await channel.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _unary(self, method: str, request: bytes, context: aio.ServicerContext) -> bytes:
        started = time.perf_counter()
        metadata: Metadata = context.invocation_metadata()
        service: Service | None = None
        code = grpc.StatusCode.CANCELLED
        self.in_flight += 1
        try:
            service = self._find(method, metadata, request)
            if service is None:
                code = grpc.StatusCode.OK
                return _OWN[method]
            response, call = await self._call(method, request, service, metadata, context)
            initial = await call.initial_metadata()
            if initial:
                await context.send_initial_metadata(tuple(initial))
            trailing = await call.trailing_metadata()
            if trailing:
                context.set_trailing_metadata(tuple(trailing))
            code = grpc.StatusCode.OK
            return response
        except Refused as refused:
            code = refused.code
            await context.abort(refused.code, refused.details)
            raise
        except aio.AioRpcError as error:
            code = error.code()
            await context.abort(code, error.details() or "", tuple(error.trailing_metadata()))
            raise
        finally:
            self.in_flight -= 1
            if service is not None:
                service.counts.grpc(code.name, time.perf_counter() - started)

    async def _call(
        self, method: str, request: bytes, service: Service, metadata: Metadata, context: aio.ServicerContext
    ) -> tuple[bytes, Any]:
        """Send a unary call to one replica after the other until one has taken it.

        Raises:
            aio.AioRpcError: the replica's answer, if it is an error.
            Refused: the last replica tried did not answer.
        """
        tried: list[Replica] = []
        while True:
            replica = self._pick(service, tried)
            replica.take()
            try:
                call = self._channel(replica).unary_unary(method)(
                    request,
                    timeout=_timeout(context, service),
                    metadata=self._forwarded(metadata),
                )
                response = await call
                replica.load.reached()
                return response, call
            except aio.AioRpcError as error:
                unsent = never_sent(error)
                if unsent:
                    replica.load.unreachable(time.monotonic())
                    service.counts.failures.inc()
                repeatable = unsent or (method in _REPEATABLE and error.code() is grpc.StatusCode.UNAVAILABLE)
                tried.append(replica)
                if not repeatable or not service.grpc_balancer.has_untried(tried):
                    raise told(error, replica, service) from None
                service.counts.retries.inc()
            finally:
                replica.release()

    async def _stream(
        self, method: str, requests: AsyncIterator[bytes], context: aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        started = time.perf_counter()
        metadata: Metadata = context.invocation_metadata()
        service: Service | None = None
        replica: Replica | None = None
        call: Any = None
        code = grpc.StatusCode.CANCELLED
        self.in_flight += 1
        try:
            index = self._by_host(metadata)
            first = [] if index is not None else [message async for message in _first(requests)]
            service = self._find(method, metadata, first[0] if first else b"")
            if service is None:  # a unary method of our own always takes the other way
                raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"Method {method} needs a service's host.")
            replica = await self._reach(service)
            call = self._channel(replica).stream_stream(method)(
                _chain(first, requests),
                timeout=_timeout(context, service),
                metadata=self._forwarded(metadata),
            )
            initial = await call.initial_metadata()
            if initial:
                await context.send_initial_metadata(tuple(initial))
            async for response in call:
                yield response
            code = await call.code()
            trailing = tuple(await call.trailing_metadata())
            if code is not grpc.StatusCode.OK:
                error = told(aio.AioRpcError(code, aio.Metadata(), trailing, await call.details()), replica, service)
                raise error
            context.set_trailing_metadata(trailing)
        except Refused as refused:
            code = refused.code
            await context.abort(refused.code, refused.details)
        except aio.AioRpcError as error:
            code = error.code()
            await context.abort(code, error.details() or "", tuple(error.trailing_metadata()))
        finally:
            self.in_flight -= 1
            if call is not None and not call.done():
                call.cancel()
            if replica is not None:
                replica.release()
            if service is not None:
                service.counts.grpc(code.name, time.perf_counter() - started)

    def _by_host(self, metadata: Metadata) -> int | None:
        authority = _last(metadata, AUTHORITY)
        return None if authority is None else self._fleet.matcher.by_host(authority.encode())

    def _find(self, method: str, metadata: Metadata, message: bytes) -> Service | None:
        """The service a call is for; None if the gateway itself is meant.

        Raises:
            Refused: none, or none that can answer, or the caller may not ask.
        """
        authorization = _last(metadata, "authorization")
        if not self._access.admits(None if authorization is None else authorization.encode()):
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, REFUSED)
        index = self._by_host(metadata)
        if index is None:
            if method in _OWN:
                return None
            index = self._by_model(method, message)
        service = self._fleet.services[index]
        if method in _LIFECYCLE:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, LIFECYCLE)
        if not service.ready:
            raise Refused(grpc.StatusCode.UNAVAILABLE, not_ready(service.route))
        if not service.grpc_balancer.members:
            text = f"Service {service.route.namespace}/{service.route.name} speaks no gRPC; ask it over HTTP."
            raise Refused(grpc.StatusCode.UNAVAILABLE, text)
        return service

    def _by_model(self, method: str, message: bytes) -> int:
        name = model_name(message)
        matcher = self._fleet.matcher
        if name is None:
            text = f"Method {method}: the message names no model; set the model name or the authority of the channel."
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, text)
        candidates = matcher.by_model(name)
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            raise Refused(grpc.StatusCode.NOT_FOUND, matcher.refuse_model(name).message)
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, matcher.refuse_model(name).message)

    def _pick(self, service: Service, tried: list[Replica]) -> Replica:
        replica = service.grpc_balancer.pick(time.monotonic(), tried)
        if replica is None:
            raise Refused(grpc.StatusCode.UNAVAILABLE, not_ready(service.route))
        return replica

    async def _reach(self, service: Service) -> Replica:
        """Take a replica that is connected: the messages of a stream cannot be collected to send them twice.

        Raises:
            Refused: no replica can be reached.
        """
        tried: list[Replica] = []
        while (replica := service.grpc_balancer.pick(time.monotonic(), tried)) is not None:
            replica.take()
            try:
                async with asyncio.timeout(defaults.CONNECT_TIMEOUT):
                    if await _connected(self._channel(replica)):
                        replica.load.reached()
                        return replica
            except TimeoutError:
                pass
            except asyncio.CancelledError:
                replica.release()
                raise
            replica.release()
            replica.load.unreachable(time.monotonic())
            service.counts.failures.inc()
            tried.append(replica)
        raise unreached(service)

    def _channel(self, replica: Replica) -> aio.Channel:
        channel = self._channels.get(replica)
        if channel is None:
            channel = aio.insecure_channel(replica.backend.grpc, options=_CHANNEL_OPTIONS)
            self._channels[replica] = channel
            replica.on_close(lambda: self._close(replica))
        return channel

    def _close(self, replica: Replica) -> None:
        task = asyncio.get_running_loop().create_task(self._channels.pop(replica).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _forwarded(self, metadata: Metadata) -> list[tuple[str, str | bytes]]:
        """The client's metadata for the replica, without what is of this hop and with the client's address."""
        kept = []
        for key, value in metadata:
            if key in _OF_THIS_HOP or key.startswith("grpc-"):
                continue
            if key == "authorization" and self._access.is_own(value if isinstance(value, bytes) else value.encode()):
                continue
            kept.append((key, value))
        client = _last(metadata, CLIENT)
        if client:
            kept.append(("x-forwarded-for", client))
        return kept


def _last(metadata: Metadata, key: str) -> str | None:
    """The last value of a key: what `grpc_front` adds stands after all that the client sent."""
    found: str | None = None
    for name, value in metadata:
        if name == key:
            found = value if isinstance(value, str) else value.decode("utf-8", "replace")
    return found


def _timeout(context: aio.ServicerContext, service: Service) -> float | None:
    """The sooner of the client's deadline and the route's limit, in seconds from now."""
    left: float | None = context.time_remaining()
    limit = service.route.timeout
    if left is None or limit is None:
        return limit if left is None else left
    return min(left, limit)


async def _connected(channel: aio.Channel) -> bool:
    """Wait until a channel is connected; False when connecting has failed."""
    while True:
        state = channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)


async def _first(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """At most one message."""
    async for message in requests:
        yield message
        return


async def _chain(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for message in first:
        yield message
    async for message in rest:
        yield message


async def serve_health_and_reflection(server: aio.Server) -> Callable[[], Awaitable[None]]:
    """Add `grpc.health.v1.Health` and server reflection; returns what turns health to NOT_SERVING when draining."""
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection

    from colonnade.wire import descriptors

    servicer = health.aio.HealthServicer()
    for name in ("", SERVICE):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(descriptors.SERVICES, server, descriptors.pool())
    return servicer.enter_graceful_shutdown  # type: ignore[no-any-return]
