"""What the caller of a gRPC call is told when it failed between the gateway and a replica. Pure.

A replica's own error goes through word for word. Errors that the gRPC library made up on this side name our sockets
and say nothing that a caller can use, so they are told in our words: above all, whether it is safe to call again.
"""

from __future__ import annotations

import grpc
from grpc import aio

from colonnade.gateway.fleet import Replica, Service

# The library has one code, UNAVAILABLE, for a replica that says so and for its own trouble; its words tell them apart.
_NEVER_SENT = "failed to connect to all addresses"
_BROKEN_OFF = ("Socket closed", "Stream removed", "Connection reset", "Broken pipe")


class Refused(Exception):
    """A call that gets no replica's answer: the code and the words for its caller."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def never_sent(error: aio.AioRpcError) -> bool:
    """Whether the call failed because no connection to the replica could be made."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and _NEVER_SENT in (error.details() or "")


def told(error: aio.AioRpcError, replica: Replica, service: Service) -> Exception:
    """What to raise for a call that failed on `replica`: the error itself if the replica sent it, else a `Refused`."""
    answer: Exception = error
    if never_sent(error):
        answer = unreached(service)
    elif error.code() is grpc.StatusCode.UNAVAILABLE:
        details = error.details() or ""
        address = (replica.backend.grpc or "").removeprefix("unix:")
        if address in details or any(words in details for words in _BROKEN_OFF):
            name = f"{service.route.namespace}/{service.route.name}"
            text = f"A replica of service {name} broke off before it answered; the call may have been executed."
            answer = Refused(grpc.StatusCode.UNAVAILABLE, text)
    return answer


def unreached(service: Service) -> Refused:
    """The refusal of a call that no replica could be reached for."""
    name = f"{service.route.namespace}/{service.route.name}"
    text = f"No replica of service {name} could be reached. Nothing was sent, so it is safe to call again."
    return Refused(grpc.StatusCode.UNAVAILABLE, text)
