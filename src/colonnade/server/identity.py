"""Request ids: unlike in the whole world for the process, counted within it, so that an id costs no entropy.

A fork is a process of its own: replicas that one process forked must not count from the same beginning.
"""

from __future__ import annotations

import os
from itertools import count

_process = os.urandom(8).hex()
_count = count(1)


def _draw() -> None:
    global _process
    _process = os.urandom(8).hex()


os.register_at_fork(after_in_child=_draw)


def new_id() -> str:
    """A new id of 32 hexadecimal digits."""
    return f"{_process}{next(_count):016x}"
