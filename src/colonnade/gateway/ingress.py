"""The application of the gateway's public ports: gRPC calls to the one side, all else to the other."""

from __future__ import annotations

from colonnade.gateway.grpc_proxy import GrpcProxy
from colonnade.gateway.proxy import Proxy
from colonnade.net import Exchange
from colonnade.wire.grpc_framing import is_grpc


class Ingress:
    """Takes requests of all protocols."""

    def __init__(self, http: Proxy, grpc: GrpcProxy) -> None:
        self._http = http
        self._grpc = grpc

    def __call__(self, exchange: Exchange) -> None:
        """Take one request."""
        if exchange.takes_trailers and is_grpc(exchange.headers.get(b"content-type", b"")):
            self._grpc(exchange)
        else:
            self._http(exchange)
