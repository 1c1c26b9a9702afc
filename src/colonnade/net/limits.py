"""What one connection may cost this process. Each bound is visible here and can be set; none can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade import defaults

MAX_TARGET_BYTES = 16 << 10

# A collected body must come at this mean rate once `read_timeout` has passed, or a client could hold its connection for
# ever with one byte at a time. A body that the application takes in parts (`Exchange.stream`) only has to go on.
MIN_BODY_RATE = 1 << 10

# What is left of a request's body when its answer is complete is read and dropped up to this size to keep the
# connection; more than that, and closing is cheaper.
MAX_DISCARD_BYTES = 256 << 10

# Bytes on the wire per byte of a chunked body, beyond `header_bytes`: the smallest chunk (1 byte) takes 6.
MAX_FRAMING_RATIO = 16

# After a refusal the client may still be sending. Closing at once would reset the connection and could destroy the
# answer before it is read (RFC 9112, section 9.6), so input is dropped for so long first.
LINGER = 2.0


@dataclass(frozen=True)
class Limits:
    """Bounds of a server's connections, in bytes and seconds.

    Attributes:
        header_bytes: request line and header fields together; more is 431 (trailer fields count the same).
        header_count: header fields of one request; more is 431.
        body_bytes: body of one request, whether its length was announced or not; more is 413.
        read_timeout: a request that has begun and does not go on for so long is 408; a client that does not read its
            answer for so long is cut.
        idle_timeout: a connection without a request is closed after so long.
        target_bytes: the request target (path and query); more is 414.
    """

    header_bytes: int = defaults.MAX_HEADER_BYTES
    header_count: int = defaults.MAX_HEADER_COUNT
    body_bytes: int = defaults.MAX_BODY_BYTES
    read_timeout: float = defaults.READ_TIMEOUT
    idle_timeout: float = defaults.IDLE_TIMEOUT
    target_bytes: int = MAX_TARGET_BYTES

    @property
    def sweep_period(self) -> float:
        """Seconds between two looks at all connections: an eighth of the shortest timeout, at most five seconds."""
        return min(5.0, max(0.01, min(self.read_timeout, self.idle_timeout) / 8))
