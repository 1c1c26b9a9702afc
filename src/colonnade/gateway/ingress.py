"""The application of the gateway's ports: gRPC calls to the one side, all else to the other."""

from __future__ import annotations

from colonnade.gateway.grpc_proxy import GrpcProxy
from colonnade.gateway.proxy import Proxy
from colonnade.gateway.service import RouteKey
from colonnade.net import Exchange
from colonnade.wire.grpc_framing import is_grpc


class Ingress:
    """Takes requests of all protocols."""

    def __init__(self, http: Proxy, grpc: GrpcProxy) -> None:
        self._http = http
        self._grpc = grpc

    def __call__(self, exchange: Exchange, via: RouteKey | None = None) -> None:
        """Take one request. `via`: the route whose own port it came on; None for the public ports."""
        if exchange.takes_trailers and is_grpc(exchange.headers.get(b"content-type", b"")):
            self._grpc(exchange, via)
        else:
            self._http(exchange, via)
