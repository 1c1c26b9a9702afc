"""One backend as the gateway sees it: the connections to it, and how loaded it is."""

from __future__ import annotations

from collections.abc import Callable

from colonnade.gateway.balance import Load
from colonnade.gateway.routes import Backend
from colonnade.gateway.slots import ReplicaSlots
from colonnade.net import Address, Upstream
from colonnade.net.http2 import Http2Upstream
from colonnade.net.mux import MuxUpstream


class Replica:
    """One backend: its connections and its load.

    Attributes:
        http: where HTTP goes.
        grpc: where gRPC goes: for a server of this product the same way; None if it speaks none.
        slots: of the requests that it has of all gateway processes together; None if nobody has to count those.
    """

    __slots__ = ("_after", "_retired", "_watched", "backend", "grpc", "http", "load", "slots")

    def __init__(self, backend: Backend, slots: ReplicaSlots | None = None) -> None:
        """Connect to it with the first request.

        Raises:
            InvalidInput: an address cannot be read.
        """
        self.backend = backend
        self.load = Load()
        address = Address.parse(backend.http)
        self.http: Upstream | MuxUpstream
        self.grpc: Http2Upstream | MuxUpstream | None = None
        if backend.mux:
            self.http = self.grpc = MuxUpstream(address)
        else:
            self.http = Upstream(address, tls=backend.tls)
            if backend.grpc is not None:
                self.grpc = Http2Upstream(Address.parse(backend.grpc))
        self.slots = slots
        self._retired = False
        self._after: Callable[[], None] | None = None
        self._watched = False  # somebody wants to know of the end of a request

    def take(self) -> None:
        """Count a request that goes to this replica; `release` must follow exactly once."""
        self.load.outstanding += 1

    def release(self) -> None:
        """Count the end of a request."""
        self.load.outstanding -= 1
        if self._watched:
            self._ended()

    def notify(self, released: Callable[[], None] | None) -> None:
        """Call `released` whenever a request has ended; None to call nobody."""
        self._after = released
        self._watched = released is not None or self.slots is not None

    def retire(self) -> None:
        """Take no new request; close when those under way have ended."""
        self._retired = self._watched = True
        self._after = None
        self._close_unused()

    def _ended(self) -> None:
        if self.slots is not None:
            self.slots.keep(self.load.outstanding)
        if self._after is not None:
            self._after()
        if self._retired:
            self._close_unused()

    def _close_unused(self) -> None:
        if not self.load.outstanding:
            self.http.close()
            if self.grpc is not None:
                self.grpc.close()
