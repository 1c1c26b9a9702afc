"""What comes of a step, of a node and of a whole graph."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

Header = tuple[bytes, bytes]

JSON = b"application/json"


class Answer(NamedTuple):
    """A step, or a node, has answered.

    Attributes:
        status: HTTP status.
        body: empty if it was passed on already.
        content_type: empty if it has none.
        headers: further header fields of the answer.
        passed_on: the answer went to the graph's caller as it came, and there is nothing more to tell.
    """

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    passed_on: bool = False

    @property
    def successful(self) -> bool:
        """Whether the status says so: 2xx."""
        return 200 <= self.status <= 299


class Failure(NamedTuple):
    """There is no answer, and the graph cannot go on, not even if the step was a soft dependency.

    Attributes:
        cause: why, for the caller.
        status: HTTP status for the caller, if this came of the graph's first node.
    """

    cause: str
    status: int = 500

    def body(self) -> bytes:
        """The error body, in KServe's words."""
        return msgspec.json.encode({"error": "Failed to process request", "cause": self.cause})


Outcome = Answer | Failure
