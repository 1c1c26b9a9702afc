"""How requests say how long their callers wait."""

from __future__ import annotations

import pytest

from colonnade.errors import InvalidInput
from colonnade.net import deadlines


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({b"grpc-timeout": b"2S"}, 2.0),
        ({b"grpc-timeout": b"150m"}, 0.15),
        ({b"grpc-timeout": b"99999999n"}, 0.099999999),
        ({b"grpc-timeout": b"1H"}, 3600.0),
        ({b"grpc-timeout": b"3M"}, 180.0),
        ({b"grpc-timeout": b"500u"}, 0.0005),
        ({b"grpc-timeout": b"0n"}, 0.0),
        ({b"x-envoy-expected-rq-timeout-ms": b"250"}, 0.25),
        ({b"x-envoy-expected-rq-timeout-ms": b"0"}, 0.0),
        ({b"x-envoy-upstream-rq-timeout-ms": b"100"}, 0.1),
        ({b"x-envoy-upstream-rq-timeout-ms": b"0"}, None),
        ({b"x-envoy-upstream-rq-timeout-ms": b"100", b"x-envoy-expected-rq-timeout-ms": b"50"}, 0.05),
        ({b"x-envoy-expected-rq-timeout-ms": b"50", b"grpc-timeout": b"10m"}, 0.01),
    ],
)
def test_the_shortest_time_that_a_request_names(headers: dict[bytes, bytes], seconds: float | None) -> None:
    assert deadlines.allowed(headers) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grpc-timeout", b""),
        ("grpc-timeout", b"S"),
        ("grpc-timeout", b"1"),
        ("grpc-timeout", b"-1S"),
        ("grpc-timeout", b"123456789S"),
        ("grpc-timeout", b"1.5S"),
        ("x-envoy-expected-rq-timeout-ms", b"soon"),
        ("x-envoy-expected-rq-timeout-ms", b"1" * 100),
        ("x-envoy-upstream-rq-timeout-ms", b"-1"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, value: bytes) -> None:
    with pytest.raises(InvalidInput, match=name):
        deadlines.allowed({name.encode(): value})


def test_what_is_passed_on_is_read_again() -> None:
    assert deadlines.allowed(dict([deadlines.passed_on(1.2345)])) == 1.234
    assert deadlines.passed_on(-1.0) == (b"x-envoy-expected-rq-timeout-ms", b"0")


@pytest.mark.parametrize(("value", "seconds"), [(None, None), (0, None), (1500, 0.0015)])
def test_the_parameter_of_v2_is_in_microseconds(value: object, seconds: float | None) -> None:
    assert deadlines.of_parameter(value) == seconds


@pytest.mark.parametrize("value", [True, "1s", -1, 1.5, [1]])
def test_a_parameter_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="microseconds"):
        deadlines.of_parameter(value)
