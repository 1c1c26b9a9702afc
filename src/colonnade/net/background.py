"""Tasks that nobody waits for one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background(set["asyncio.Task[Any]"]):
    """The tasks of one owner, until they end. The event loop itself refers to a task only weakly, so one that nobody
    holds may vanish in the middle of its work."""

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run it as a task of the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self.add(task)
        task.add_done_callback(self.discard)
        return task
