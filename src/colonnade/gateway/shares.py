"""How many requests one service may have under way, so that a flooded one leaves room for the others.

A fixed limit per service wastes what the others do not use; none lets one service take all. The limit here is a
multiple of what is free (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches",
1998): alone, a service may borrow nearly everything; as the others ask for more, less is free and its limit falls at
once, below what it holds if need be, and it gets no new place until it has come down to it. Some places are always
free for a newcomer, and nobody needs to know who is active. Pure.
"""

from __future__ import annotations

from colonnade import defaults


class Shares:
    """The places of one gateway.

    With `n` flooded services each of them gets `BORROW / (1 + n * BORROW)` of the limit.

    Attributes:
        taken: places in use, of all services.
    """

    __slots__ = ("_limit", "taken")

    def __init__(self, limit: int) -> None:
        """`limit`: requests that may be under way at one time."""
        self._limit = limit
        self.taken = 0

    def share(self) -> Share:
        """The places of one more service, of which it has none yet."""
        return Share(self)

    def admits(self, held: int) -> bool:
        """Whether a service that holds so many places may have one more."""
        free = self._limit - self.taken
        return free > 0 and held < max(1.0, defaults.IN_FLIGHT_BORROW * free)


class Share:
    """The places of one service, which its revisions have in common. Whoever takes one counts it in both numbers.

    Attributes:
        held: places in use.
        shares: those of all services.
    """

    __slots__ = ("held", "shares")

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.held = 0

    def admits(self) -> bool:
        """Whether the service may have one more."""
        return self.shares.admits(self.held)
