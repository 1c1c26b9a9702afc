"""gRPC calls on their way to services whose requests somebody wants to see."""

from __future__ import annotations

from colonnade.gateway.grpc_forward import GrpcForward
from colonnade.gateway.observed import Observed
from colonnade.wire.grpc_framing import Code


class ObservedCall(Observed, GrpcForward):
    """A call that the observers of its service see; bodies are messages as gRPC frames them."""

    def _code_name(self) -> str:
        return Code.UNKNOWN.name if self._code is None else self._code.name
