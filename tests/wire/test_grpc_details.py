"""The details of a failed call, read by protobuf."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from colonnade.wire import grpc_details
from colonnade.wire.grpc_framing import Code

from ..grpc_details import MESSAGES


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, (0, 0)), (0.25, (0, 250_000_000)), (1.0, (1, 0)), (299.9996, (300, 0)), (-1.0, (0, 0))],
)
def test_a_delay_is_a_duration(seconds: float, expected: tuple[int, int]) -> None:
    delay = MESSAGES["RetryInfo"].FromString(status(seconds).details[0].value).retry_delay
    assert (delay.seconds, delay.nanos) == expected


@pytest.mark.parametrize(
    ("reason", "word"), [("", "TOO_MANY_REQUESTS"), ("ModelProcessLost", "MODEL_PROCESS_LOST"), ("Timeout", "TIMEOUT")]
)
def test_a_reason_is_spelled_as_in_google_apis(reason: str, word: str) -> None:
    info = MESSAGES["ErrorInfo"].FromString(status(1.0, reason).details[1].value)
    assert (info.reason, info.domain) == (word, "colonnade.dev")


def test_a_long_message_is_cut_between_characters() -> None:
    assert status(1.0, message="«" * 1000).message == "«" * 512


def test_what_no_retry_helps_has_none() -> None:
    assert grpc_details.trailers(Code.INVALID_ARGUMENT, "no") == ()
    assert grpc_details.trailers(Code.RESOURCE_EXHAUSTED, "too large") == ()
    assert len(grpc_details.trailers(Code.DEADLINE_EXCEEDED, "late")) == 1


def status(retry_after: float, reason: str = "", message: str = "busy") -> Any:
    ((name, value),) = grpc_details.trailers(Code.RESOURCE_EXHAUSTED, message, retry_after, reason)
    assert name == b"grpc-status-details-bin"
    assert b"=" not in value
    return MESSAGES["Status"].FromString(base64.b64decode(value + b"=" * (-len(value) % 4)))
