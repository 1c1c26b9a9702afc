"""Garbage collection of a process that serves: rare, and not of what stays.

Requests leave no cycles behind, so the collector finds nothing but what is still in use, at the price of looking at all
of it again and again: with CPython's default it runs every few dozen requests under load.
"""

from __future__ import annotations

import gc

_YOUNG = 20_000  # new objects, less those that went, before a look at the young ones; CPython's default is 700
_OLDER = (20, 50)


_shared = False  # what was there first is shared with other processes


def share() -> None:
    """Call before forks: what is there now is never looked at, here or in them, so that they go on to share it."""
    global _shared
    _shared = True
    gc.collect()
    gc.freeze()


def settle() -> None:
    """Call when all is loaded, and again when something large has gone: what is there now is taken to stay and is not
    looked at until the next call. Takes some 50 ms; in a fork less, where only what is its own is looked at."""
    if not _shared:
        gc.unfreeze()
    gc.collect()
    if not _shared:
        gc.freeze()
    gc.set_threshold(_YOUNG, *_OLDER)
