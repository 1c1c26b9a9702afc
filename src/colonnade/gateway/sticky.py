"""Requests of one caller stay with one revision: what tells callers apart, and whose revision is whose.

The revision follows from the caller's value and the weights alone, by weighted rendezvous hashing (Schindelhauer and
Schomaker, "Weighted Distributed Hash Tables", 2005): no table of callers is kept, all gateway processes agree, and a
change of the weights moves only those callers that must move. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from math import inf, log
from typing import NamedTuple

_COOKIE = b"cookie"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_MAX_AGE = 30 * 24 * 3600  # seconds that a browser keeps the cookie; a rollout is over before


class Sticky(NamedTuple):
    """What tells callers apart.

    Attributes:
        header: the header field, in lower case, that holds the value; b"cookie" for a cookie.
        cookie: name of the cookie; empty if the value is the field's own.
    """

    header: bytes
    cookie: bytes = b""

    @classmethod
    def read(cls, text: str) -> Sticky | None:
        """The rule that `header:NAME` or `cookie:NAME` means; None for anything else, the empty text included."""
        kind, _, name = text.partition(":")
        if not _TOKEN.fullmatch(name):
            return None
        if kind == "header":
            return cls(name.lower().encode())
        return cls(_COOKIE, name.encode()) if kind == "cookie" else None

    def value(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """What a request says of its caller, if it does."""
        found = headers.get(self.header)
        if found is None or not self.cookie:
            return found or None
        for pair in found.replace(b",", b";").split(b";"):  # repeated fields are joined by a comma
            name, _, value = pair.partition(b"=")
            if name.strip() == self.cookie:
                return value.strip() or None
        return None

    def set_cookie(self, value: bytes) -> tuple[bytes, bytes]:
        """The header field of an answer that lets its caller come back with this value."""
        return b"set-cookie", b"%b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (self.cookie, value, _MAX_AGE)


def stuck(value: bytes, weights: Mapping[str, int]) -> str:
    """The revision of the caller with this value, of revisions with these weights, which are not all zero."""
    best, least = "", inf
    for name, weight in weights.items():
        if weight > 0:
            digest = blake2b(value, digest_size=8, key=blake2b(name.encode(), digest_size=32).digest()).digest()
            score = -log((int.from_bytes(digest) + 1) / 2**64) / weight
            if score < least or not best:
                best, least = name, score
    return best
