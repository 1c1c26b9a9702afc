"""The one family of errors that the product answers with.

It lies below every room because every room refuses bad input: a manifest field (`resources`), a tensor (`wire`), an
archive (`storage`), a stale write (`control`). Each error carries what any protocol needs to say it: a status, a short
machine-readable reason, a message that names the field, the value and the fix. How a protocol spells it lies in
`wire.failures`. An error that is not of this family is a fault of ours: the caller gets an opaque id, the log the rest.
"""

from __future__ import annotations


class Error(Exception):
    """Base of the family.

    Attributes:
        status: HTTP status code.
        reason: CamelCase reason, stable for machines (Kubernetes `Status.reason` where Kubernetes has one).
        message: one sentence for people: field, value, fix.
        retry_after: seconds after which a retry makes sense, or None.
    """

    status: int = 500
    reason: str = "InternalError"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class InvalidInput(Error):
    """The request is malformed or does not fit the model (400)."""

    status = 400
    reason = "BadRequest"


class Unauthorized(Error):
    """No valid credential came with the request (401)."""

    status = 401
    reason = "Unauthorized"


class Forbidden(Error):
    """The caller is known and may not do this, or consent is missing (403)."""

    status = 403
    reason = "Forbidden"


class NotFound(Error):
    """What the request names does not exist (404)."""

    status = 404
    reason = "NotFound"


class ModelNotFound(NotFound):
    """No model of this name is hosted. The text is that of KServe's V1 protocol."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Model with name {name} does not exist.")


class MethodNotAllowed(Error):
    """The resource exists and does not take this method (405)."""

    status = 405
    reason = "MethodNotAllowed"


class Conflict(Error):
    """The write lost against another one: stale `resourceVersion`, or field ownership (409)."""

    status = 409
    reason = "Conflict"


class AlreadyExists(Conflict):
    """An object of that name exists already (409)."""

    reason = "AlreadyExists"


class Gone(Error):
    """The asked history is no longer kept (410)."""

    status = 410
    reason = "Expired"


class TooLarge(Error):
    """The request is larger than the limit that the message names (413)."""

    status = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(Error):
    """The content type is not one that this route takes (415)."""

    status = 415
    reason = "UnsupportedMediaType"


class Invalid(Error):
    """A manifest that parses but breaks a rule of its kind (422).

    `causes` lists `(field path, message)` pairs, field paths as Kubernetes writes them: `spec.predictor.minReplicas`.
    """

    status = 422
    reason = "Invalid"

    def __init__(self, message: str, causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.causes = causes


class Overloaded(Error):
    """A limit on work in progress is reached (429)."""

    status = 429
    reason = "TooManyRequests"


class InferenceError(Error):
    """The model ran and failed, in words meant for the caller (500). User code may raise it."""

    reason = "InferenceError"


class ProcessLost(Error):
    """The process in which the model runs ended while it computed this; one that replaces it is started (500)."""

    reason = "ModelProcessLost"


class LoadFailed(Error):
    """A model cannot be loaded: the message names the file and the fix (500)."""

    reason = "ModelLoadFailed"


class NotImplementedByModel(Error):
    """The model does not implement the asked operation (501)."""

    status = 501
    reason = "NotImplemented"


class BadUpstream(Error):
    """A replica broke off its answer (502)."""

    status = 502
    reason = "BadGateway"


class Unavailable(Error):
    """Nothing can answer right now; the message says why (503)."""

    status = 503
    reason = "ServiceUnavailable"


class ModelNotReady(Unavailable):
    """The model exists and is not loaded. The text is that of KServe's V1 protocol."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Model with name {name} is not ready.")


class DeadlineExceeded(Error):
    """The work did not end in the time allowed (504)."""

    status = 504
    reason = "Timeout"
