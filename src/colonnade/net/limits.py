"""What one connection may cost this process. Each bound is visible here and can be set; none can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade import defaults

# Bytes on the wire per byte of a chunked body, beyond `header_bytes`: the smallest chunk (1 byte) takes 6.
MAX_FRAMING_RATIO = 16


@dataclass(frozen=True)
class Limits:
    """Bounds of a server's connections, in bytes and seconds.

    Attributes:
        header_bytes: request line and header fields together; more is 431 (trailer fields count the same).
        header_count: header fields of one request; more is 431.
        target_bytes: the request target (path and query); more is 414.
        body_bytes: body of one request, whether its length was announced or not; more is 413.
        body_rate: bytes per second of a body, in the mean over each `read_timeout`; less is 408.
        read_timeout: a request that has begun and does not go on for so long is 408; a client that does not read its
            answer for so long is cut.
        idle_timeout: a connection without a request is closed after so long.
        discard_bytes: what is read and dropped of a request that has its answer already. With no more than that to
            come, the connection is kept.
        discard_timeout: how long that may take. After a refusal, too, the client may still be sending, and closing at
            once would reset the connection and could destroy the answer before it is read (RFC 9112, section 9.6).
        drain_linger: how long a connection without a request stays open when the server ends, for one that is on its
            way.
    """

    header_bytes: int = defaults.MAX_HEADER_BYTES
    header_count: int = defaults.MAX_HEADER_COUNT
    target_bytes: int = defaults.MAX_TARGET_BYTES
    body_bytes: int = defaults.MAX_BODY_BYTES
    body_rate: int = defaults.MIN_BODY_RATE
    read_timeout: float = defaults.READ_TIMEOUT
    idle_timeout: float = defaults.IDLE_TIMEOUT
    discard_bytes: int = defaults.MAX_DISCARD_BYTES
    discard_timeout: float = defaults.DISCARD_TIMEOUT
    drain_linger: float = defaults.DRAIN_LINGER

    @property
    def sweep_period(self) -> float:
        """Seconds between two looks at all connections: an eighth of the shortest timeout, at most five seconds."""
        return min(5.0, max(0.01, min(self.read_timeout, self.idle_timeout) / 8))
