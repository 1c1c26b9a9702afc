"""How a model that runs on the event loop says that one call must not.

A model with `inline` set is quick as a rule. One that is not quick for some requests, because it has to load something
or to ask a slower part of itself, cannot know beforehand; it finds out in `predict`, and asks there for a thread.
"""

from __future__ import annotations

import asyncio


class NotInline(Exception):
    """Raised by `predict` on the event loop, before it has had any effect: make this call again on a worker thread."""


def require_thread() -> None:
    """Goes on if this is a worker thread.

    Raises:
        NotInline: this is the event loop's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise NotInline("this call may take long; it belongs on a worker thread")
