"""Where requests with one head go, decided once: the service, the path there, and the head that the replica gets.

The revision is decided with it, too, where the requests all go to the same one: it is the only one, or their host or
what they say of their caller means it.

The requests of a client mostly have the same head, and all of this follows from the head, the client's address and the
route table. So it is kept with the remembered head (`Exchange.memo`) and is valid for as long as the table is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from colonnade.gateway.forwarding import request_headers
from colonnade.gateway.matching import Matcher
from colonnade.gateway.replica import Replica
from colonnade.gateway.revision import Revision
from colonnade.net import Exchange, Header, Upstream
from colonnade.net.deadlines import EXPECTED, GRPC, earlier, passed_on
from colonnade.net.http2 import Http2Upstream
from colonnade.net.mux import MuxUpstream

if TYPE_CHECKING:
    from colonnade.gateway.service import Service

CLIENTS = 64  # that the heads of one way are kept for

_MAX_GRPC = 99_999_999  # milliseconds: the digits that a `grpc-timeout` may have


class Way:
    """The way of requests with the same head.

    Attributes:
        grpc: they are gRPC calls.
        matcher: of the table that this was decided by.
        service: what the requests are for.
        revision: of that, for all of them; None if each has to ask `Service.choose`.
        introduces: the service tells callers apart by a cookie and these have none yet, so each gets its own.
        path: what its replicas are asked for, with the query.
        timeout: seconds until a request must have its answer, None for no limit.
        hurried: the caller allows less than the route.
    """

    __slots__ = (
        "_heads",
        "_hide_authorization",
        "grpc",
        "hurried",
        "introduces",
        "matcher",
        "path",
        "revision",
        "service",
        "timeout",
    )

    def __init__(
        self,
        matcher: Matcher,
        service: Service,
        path: bytes,
        hide_authorization: bool,
        allowed: float | None,
        *,
        headers: Mapping[bytes, bytes],
        tag: str | None = None,
        grpc: bool = False,
    ) -> None:
        """Decide the way.

        Args:
            headers: of the requests.
            tag: the revision that their host means.
            hide_authorization: the credential was meant for the gateway.
            allowed: seconds that the caller waits, None if it does not say.
        """
        self.timeout = earlier(service.route.timeout, allowed)
        self.hurried = self.timeout != service.route.timeout
        self.grpc = grpc
        self.matcher = matcher
        self.service = service
        self.path = path
        self._hide_authorization = hide_authorization
        self._heads: dict[tuple[bool, str | None, bool], bytes] = {}
        self.introduces = False
        self.revision = service.revisions.get(tag) if tag is not None else service.sole
        sticky = service.sticky
        if self.revision is None and sticky is not None:
            value = sticky.value(headers)
            self.introduces = value is None and bool(sticky.cookie) and not grpc
            if value is not None:
                self.revision = service.of_caller(value)

    def to(self, revision: Revision) -> Way:
        """The way of the same requests to another revision of their service, however long their callers wait."""
        return Way(
            self.matcher,
            self.service,
            self.path,
            self._hide_authorization,
            None,
            headers={},
            tag=revision.name,
            grpc=self.grpc,
        )

    def choose(self, now: float) -> tuple[Revision, Header | None]:
        """The revision of the next request, and the field that its answer introduces its caller with."""
        service = self.service
        if not self.introduces or service.sticky is None:
            return service.choose(now), None
        revision, value = service.newcomer(now)
        return revision, service.sticky.set_cookie(value)

    def upstream(self, replica: Replica) -> Upstream | MuxUpstream | Http2Upstream:
        """The connections of a replica that such requests go over."""
        return replica.http if replica.grpc is None or not self.grpc else replica.grpc

    def fields(self, exchange: Exchange) -> list[Header]:
        """The fields for a replica, without the id."""
        return request_headers(
            exchange.raw_headers,
            exchange.headers,
            client=(exchange.peer or "").encode(),
            scheme=b"https" if exchange.secure else b"http",
            hide_authorization=self._hide_authorization,
        )

    def head(self, replica: Replica, exchange: Exchange, length: int | None, left: float | None = None) -> bytes:
        """The head for a replica, without the id.

        Args:
            replica: it is for.
            exchange: the request.
            length: of the body; None if it is not known.
            left: seconds of `timeout`, if some of it is spent; None if all of it is left. Such a head is not kept.

        Raises:
            ValueError: the target or a field holds a byte that cannot be sent.
        """
        key = (replica.backend.mux, exchange.peer, exchange.secure)
        head = self._heads.get(key)
        # HTTP/1.1 has the length in its head.
        same = left is None and (replica.backend.mux or length == exchange.length)
        if head is None or not same:
            fields = self.fields(exchange)
            if self.timeout is not None:
                rest = self.timeout if left is None else left
                fields = [field for field in fields if field[0] != EXPECTED] + [passed_on(rest)]
            if left is not None:
                fields = [_shortened(field, left) for field in fields]
            head = self.upstream(replica).head(exchange.method, self.path, fields, length)
            if same:
                if len(self._heads) >= CLIENTS:
                    self._heads.clear()
                self._heads[key] = head
        return head


def _shortened(field: Header, left: float) -> Header:
    """A field of the request; a `grpc-timeout` says what is left."""
    return (GRPC, b"%dm" % max(1, min(int(left * 1000), _MAX_GRPC))) if field[0] == GRPC else field
