"""Garbage collection of a process that serves: rare, and not of what stays.

Requests leave no cycles behind, so the collector finds nothing but what is still in use, at the price of looking at all
of it again and again: with CPython's default it runs every few dozen requests under load.
"""

from __future__ import annotations

import gc

_YOUNG = 20_000  # new objects, less those that went, before a look at the young ones; CPython's default is 700
_OLDER = (20, 50)

_LONG = 1.0  # seconds of a start, of which a look at all is no great part

_shared = False  # what was there first is shared with other processes


def begin() -> None:
    """Call before the imports of a process that will serve: nearly all that they make stays, and to look for what does
    not takes them a tenth longer."""
    gc.set_threshold(_YOUNG, *_OLDER)


def share() -> None:
    """Call before forks: what is there now is never looked at, here or in them, so that they go on to share it."""
    global _shared
    _shared = True
    gc.collect()
    gc.freeze()


def settle(seconds: float) -> None:
    """Call when all is loaded, with the time that took: what is there now is taken to stay and is not looked at until
    `sweep`. A short start has left some hundred objects of garbage, which are kept rather than looked for while the
    first request waits."""
    if seconds >= _LONG:
        sweep()
        return
    _keep()


def sweep() -> None:
    """Call when something large has gone: all is looked at, and what is there then is taken to stay. Takes some 20 ms;
    in a fork less, where only what is its own is looked at."""
    if not _shared:
        gc.unfreeze()
    gc.collect()
    _keep()


def _keep() -> None:
    if not _shared:
        gc.freeze()
    gc.set_threshold(_YOUNG, *_OLDER)
