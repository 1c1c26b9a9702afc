"""How each protocol says a failure.

`errors.Error` carries status, reason and message; here they become a V1 or V2 body, a gRPC status or a Kubernetes
`Status`. Anything else is a fault of ours: the log gets it whole with an id, the client gets the id.
"""

from __future__ import annotations

import logging
import math
import os
from typing import Any

import msgspec

from colonnade.errors import AlreadyExists, Error, Invalid

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode

# Source of the numbers: gRPC, "Status codes and their use in gRPC".
_GRPC_CODES = {
    400: 3,  # INVALID_ARGUMENT
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 5,  # NOT_FOUND
    405: 12,  # UNIMPLEMENTED
    409: 10,  # ABORTED
    410: 11,  # OUT_OF_RANGE
    413: 8,  # RESOURCE_EXHAUSTED, as gRPC itself says for a message over the limit
    415: 3,
    422: 3,
    429: 8,
    501: 12,
    502: 14,  # UNAVAILABLE
    503: 14,
    504: 4,  # DEADLINE_EXCEEDED
}
_GRPC_INTERNAL = 13
_HTTP_STATUSES = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 11: 400, 12: 501, 14: 503, 16: 401}
_GRPC_ALREADY_EXISTS = 6


def opaque(exception: BaseException) -> Error:
    """The error to answer with: `exception` itself if it is of the family; else one with an id, which is logged."""
    if isinstance(exception, Error):
        return exception
    identity = os.urandom(8).hex()
    _log.error("unexpected failure, id %s", identity, exc_info=exception, extra={"failure_id": identity})
    return Error(f"Internal error; see the server's log, id {identity}")


def retry_after(seconds: float | None) -> list[tuple[bytes, bytes]]:
    """The field that tells a caller when to come again (RFC 9110, section 10.2.3), in whole seconds, at least one; none
    where that is not known."""
    return [] if seconds is None else [(b"retry-after", b"%d" % max(1, math.ceil(seconds)))]


def v1_body(exception: BaseException) -> tuple[int, bytes]:
    """HTTP status and body of a failure in V1: `{"error": message}`."""
    error = opaque(exception)
    return error.status, _encode({"error": _utf8(error.message)})


v2_body = v1_body
"""The same in V2: Open Inference Protocol, "Inference Response JSON Error Object"."""


def grpc_status(exception: BaseException) -> tuple[int, str]:
    """gRPC status code and details of a failure."""
    error = opaque(exception)
    if isinstance(error, AlreadyExists):
        return _GRPC_ALREADY_EXISTS, error.message
    return grpc_code(error.status), error.message


def grpc_code(status: int) -> int:
    """gRPC status code of a failure with this HTTP status."""
    return _GRPC_CODES.get(status, _GRPC_INTERNAL)


def http_status(code: int) -> int:
    """HTTP status that says what a gRPC status code of another server says."""
    return _HTTP_STATUSES.get(code, 500)


def kubernetes_status(
    exception: BaseException, *, group: str | None = None, kind: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """The Kubernetes `Status` object of a failure.

    Args:
        group: API group of the object that the request was about.
        kind: its resource (the plural), as Kubernetes puts it into `details.kind`.
        name: its name.
    """
    error = opaque(exception)
    details: dict[str, Any] = {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}
    if isinstance(error, Invalid) and error.causes:
        details["causes"] = [
            {"reason": "FieldValueInvalid", "message": message, "field": field} for field, message in error.causes
        ]
    if error.retry_after is not None:
        details["retryAfterSeconds"] = math.ceil(error.retry_after)
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
    }
    if details:
        status["details"] = details
    status["code"] = error.status
    return status


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
