"""What a gateway process tells of one revision: once a second, and at once when a request waits for a first replica."""

from __future__ import annotations

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """One interval of one revision in one gateway process.

    Attributes:
        concurrency: requests in flight or held, in the mean over the interval.
        requests: how many arrived in the interval.
        held: how many wait now.
        seconds: length of the interval.
    """

    namespace: str
    service: str
    component: str
    revision: str
    concurrency: float = 0.0
    requests: float = 0.0
    held: int = 0
    seconds: float = 1.0
