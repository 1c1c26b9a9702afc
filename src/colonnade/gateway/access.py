"""Who may send requests through the gateway: everyone, or those who bring its bearer token (RFC 6750). Pure."""

from __future__ import annotations

import hmac

REFUSED = "A bearer token is needed: send the header 'Authorization: Bearer <token>' with this gateway's token."


class Access:
    """The rule for one gateway.

    Args:
        token: the gateway's own token, or None if it has none.
        required: refuse requests without it; without a token everything is refused then.
    """

    __slots__ = ("_required", "_token")

    def __init__(self, token: str | None = None, *, required: bool = False) -> None:
        self._token = token.encode() if token else None
        self._required = required

    def admits(self, authorization: bytes | None) -> bool:
        """Whether a request with this `Authorization` value (None if absent) may pass."""
        return not self._required or self.is_own(authorization)

    def is_own(self, authorization: bytes | None) -> bool:
        """Whether the value carries this gateway's token, which no replica needs to see. Takes constant time."""
        if authorization is None or self._token is None:
            return False
        scheme, _, credential = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(credential.strip(), self._token)
