"""The gRPC health service, answered from the repository itself, so that it can never disagree with HTTP.

Services: the empty name and `inference.GRPCInferenceService` stand for the whole server; every model's name is a
service of its own. Source: grpc/health/v1/health.proto. `Watch` ends when the server drains, or it would hold the
server's shutdown until its grace period is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from colonnade.server.repository import Repository


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """`grpc.health.v1.Health` over a repository.

    `whole` are the service names that stand for the whole server.
    """

    def __init__(self, repository: Repository, whole: frozenset[str]) -> None:
        self._repository = repository
        self._whole = whole
        self._changed = asyncio.Event()
        repository.on_change.append(self._wake)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """The state of one service; NOT_FOUND if there is none of that name."""
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service}")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The state of one service now and after each change."""
        last = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._repository.draining:
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        response = health_pb2.HealthCheckResponse
        if service in self._whole:
            serving = self._repository.ready
        else:
            hosted = self._repository.hosted.get(service)
            if hosted is None:
                return int(response.SERVICE_UNKNOWN)
            serving = hosted.ready and not self._repository.draining
        return int(response.SERVING if serving else response.NOT_SERVING)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
