"""Request ids: unlike in the whole world for the process, counted within it, so that an id costs no entropy."""

from __future__ import annotations

import secrets
from itertools import count

_process = secrets.token_hex(8)
_count = count(1)


def new_id() -> str:
    """A new id of 32 hexadecimal digits."""
    return f"{_process}{next(_count):016x}"
