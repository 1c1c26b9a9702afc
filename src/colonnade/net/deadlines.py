"""How long a caller waits for its answer, as the request says it, and what is passed on to the next hop.

Work that nobody waits for any more is the first to be saved under overload, so each hop must know what is left. Two
customs say it: gRPC's `grpc-timeout` (gRPC over HTTP/2, "Timeout"), and Envoy's `x-envoy-expected-rq-timeout-ms`, which
a proxy sets on the request to its upstream; a client that wants less than the route allows sends
`x-envoy-upstream-rq-timeout-ms`. Inside a V2 body it is Triton's request parameter `timeout`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from colonnade.errors import InvalidInput

GRPC = b"grpc-timeout"
EXPECTED = b"x-envoy-expected-rq-timeout-ms"
WANTED = b"x-envoy-upstream-rq-timeout-ms"
PARAMETER = "timeout"

_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_GRPC_DIGITS = 8  # at most


def allowed(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds from its arrival for which the caller of a request waits; None if it does not say.

    Raises:
        InvalidInput: a header cannot be read.
    """
    found: float | None = None
    for name in (GRPC, EXPECTED, WANTED):
        value = headers.get(name)
        if value is not None:
            found = earlier(found, _grpc(value) if name == GRPC else _milliseconds(name, value))
    return found


def earlier(one: float | None, other: float | None) -> float | None:
    """The shorter of two times of which either may be unlimited."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def passed_on(seconds: float) -> tuple[bytes, bytes]:
    """The header field that tells the next hop what is left."""
    return EXPECTED, b"%d" % (max(1, int(seconds * 1000)) if seconds > 0.0 else 0)


def of_parameter(value: object) -> float | None:
    """Seconds of the V2 request parameter `timeout`, which is in microseconds; 0 and absence mean no limit.

    Raises:
        InvalidInput: it is not a number of microseconds.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"Parameter {PARAMETER} must be a number of microseconds, 0 or more, not {value!r}.")
    return value / 1e6 if value else None


def _grpc(value: bytes) -> float:
    number, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not number.isdigit() or len(number) > _GRPC_DIGITS:
        raise InvalidInput(f"Header grpc-timeout must be up to 8 digits and one of H M S m u n, not {value[:32]!r}.")
    return int(number) * _UNITS[unit]


def _milliseconds(name: bytes, value: bytes) -> float | None:
    if not value.isdigit() or len(value) > 15:
        raise InvalidInput(f"Header {name.decode()} must be a number of milliseconds, not {value[:32]!r}.")
    return int(value) / 1000 if int(value) or name == EXPECTED else None  # Envoy: a wish of 0 is no limit
