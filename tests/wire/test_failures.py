"""How failures are said, in each protocol."""

from __future__ import annotations

import json
import logging
import re

import grpc
import pytest

from colonnade import errors
from colonnade.wire import failures

CODES = [
    (errors.InvalidInput("x"), 400, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Unauthorized("x"), 401, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Forbidden("x"), 403, grpc.StatusCode.PERMISSION_DENIED),
    (errors.ModelNotFound("zz"), 404, grpc.StatusCode.NOT_FOUND),
    (errors.MethodNotAllowed("x"), 405, grpc.StatusCode.UNIMPLEMENTED),
    (errors.Conflict("x"), 409, grpc.StatusCode.ABORTED),
    (errors.AlreadyExists("x"), 409, grpc.StatusCode.ALREADY_EXISTS),
    (errors.Gone("x"), 410, grpc.StatusCode.OUT_OF_RANGE),
    (errors.TooLarge("x"), 413, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.UnsupportedMediaType("x"), 415, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Invalid("x"), 422, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Overloaded("x"), 429, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.InferenceError("x"), 500, grpc.StatusCode.INTERNAL),
    (errors.LoadFailed("x"), 500, grpc.StatusCode.INTERNAL),
    (errors.ProcessLost("x"), 500, grpc.StatusCode.INTERNAL),
    (errors.NotImplementedByModel("x"), 501, grpc.StatusCode.UNIMPLEMENTED),
    (errors.BadUpstream("x"), 502, grpc.StatusCode.UNAVAILABLE),
    (errors.ModelNotReady("nr"), 503, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded("x"), 504, grpc.StatusCode.DEADLINE_EXCEEDED),
]


@pytest.mark.parametrize(("error", "status", "code"), CODES)
def test_status_codes(error: errors.Error, status: int, code: grpc.StatusCode) -> None:
    for body in (failures.v1_body, failures.v2_body):
        assert body(error) == (status, json.dumps({"error": error.message}, separators=(",", ":")).encode())
    assert failures.grpc_status(error) == (code.value[0], error.message)
    assert failures.kubernetes_status(error)["code"] == status


def test_every_class_of_the_family_is_listed() -> None:
    listed = {type(error) for error, _, _ in CODES}
    abstract = {errors.Error, errors.NotFound, errors.Unavailable}
    family = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Error)}
    assert family - abstract == listed


def test_an_unexpected_failure_keeps_its_secret_and_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        status, body = failures.v2_body(ValueError("/etc/secret is 7"))
    message = json.loads(body)["error"]
    identity = re.fullmatch(r"Internal error; see the server's log, id ([0-9a-f]{16})", message)
    assert status == 500
    assert identity
    (record,) = caplog.records
    assert identity.group(1) in record.getMessage()
    assert "/etc/secret is 7" in caplog.text


def test_an_expected_failure_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = errors.InvalidInput("x")
    assert failures.opaque(error) is error
    assert not caplog.records


def test_a_message_that_is_not_utf8_still_makes_a_body() -> None:
    assert failures.v1_body(errors.InvalidInput("bad \ud800")) == (400, b'{"error":"bad ?"}')


def test_kubernetes_status() -> None:
    error = errors.Invalid("it is invalid", (("spec.predictor", "must be set"),))
    assert failures.kubernetes_status(error, group="serving.kserve.io", kind="inferenceservices", name="iris") == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "it is invalid",
        "reason": "Invalid",
        "details": {
            "name": "iris",
            "group": "serving.kserve.io",
            "kind": "inferenceservices",
            "causes": [{"reason": "FieldValueInvalid", "message": "must be set", "field": "spec.predictor"}],
        },
        "code": 422,
    }


def test_kubernetes_status_says_when_to_retry_and_leaves_out_what_is_not_known() -> None:
    assert failures.kubernetes_status(errors.Overloaded("busy", retry_after=1.2)) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "busy",
        "reason": "TooManyRequests",
        "details": {"retryAfterSeconds": 2},
        "code": 429,
    }
