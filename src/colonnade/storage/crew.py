"""Jobs on a few threads, to the end or to the first failure.

Not an executor: its threads are daemons, since a process that is told to stop must not wait for a download.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

Job = Callable[[threading.Event], None]
"""Gets an event that says that another job failed, so that it may end early."""


def run_all(jobs: Iterable[Job], width: int) -> None:
    """Run all jobs, `width` of them at one time. Returns when no job runs any more.

    Raises:
        The first failure; jobs that had not begun then never begin.
    """
    waiting = deque(jobs)
    halted = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        while waiting and not halted.is_set():
            try:
                job = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                job(halted)
            except BaseException as failure:
                failures.append(failure)
                halted.set()

    threads = [threading.Thread(target=work, name="download", daemon=True) for _ in range(min(width, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
