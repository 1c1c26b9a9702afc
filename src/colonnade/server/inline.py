"""Whether a model call may run on the event loop: a pure decision over observed run times.

A hop to a thread and back costs some 30 us; a small ONNX model takes 5 us. So a model whose calls are surely short
runs where the request arrived. One slow call there would stall every connection, hence the rule is strict: the slowest
of the last calls was under half a millisecond, and the request is so little larger than those that were seen that it
stays there if the time grows with the size.

Calls count with their CPU time: the wall time of a call on the worker thread holds waits for the interpreter lock, and
that of any call the times when the machine ran something else; both would make a quick model look slow just when the
load is high. That is sound only for a model whose predict waits for nothing, which is what `Model.inline` promises. But
to read the CPU clock costs a system call, some 10 % of a small request. So calls on the loop are timed by the wall
clock, which is nearly free, and a slow one only raises doubt: while that lasts, the CPU clock decides.
"""

from __future__ import annotations

import sys
from collections import deque

LIMIT = 0.0005  # seconds; well under the millisecond after which work must leave the loop
WINDOW = 32  # calls that are remembered
GROWTH = 8.0  # a request may be so many times larger than those that were seen, if they took so much less than LIMIT
ENOUGH = 8  # calls that must have been seen before the first one runs on the loop


class RunTimes:
    """The last calls of one model: their CPU seconds and request sizes in bytes.

    Attributes:
        slowest: the most seconds of a call.
        largest: the size of the largest request.
        loop_size: bytes up to which a request may run on the loop; -1: none may.
        doubts: calls on the loop that are still timed by the CPU clock, because one took long by the wall clock.
    """

    __slots__ = ("_always", "_calls", "doubts", "largest", "loop_size", "slowest")

    def __init__(self, *, always: bool = False) -> None:
        """`always`: every call runs on the loop, whatever it takes: somebody who knows has promised."""
        self._always = always
        self._calls: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self.slowest = 0.0
        self.largest = 0
        self.loop_size = sys.maxsize if always else -1
        self.doubts = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, seconds: float, size: int) -> None:
        """Records one call."""
        calls = self._calls
        leaving = calls[0] if len(calls) == WINDOW else (0.0, 0)
        calls.append((seconds, size))
        if seconds >= self.slowest:
            self.slowest = seconds
        elif leaving[0] >= self.slowest:
            self.slowest = max(call[0] for call in calls)
        if size >= self.largest:
            self.largest = size
        elif leaving[1] >= self.largest:
            self.largest = max(call[1] for call in calls)
        if not self._always:
            self.loop_size = self._bound()

    def _bound(self) -> int:
        if len(self._calls) < ENOUGH or self.slowest >= LIMIT:
            return -1
        return int(self.largest * min(GROWTH, LIMIT / max(self.slowest, LIMIT / GROWTH)))

    def add_on_loop(self, seconds: float, size: int) -> None:
        """Records a call on the loop, timed by the CPU clock while there are `doubts`, else by the wall clock.

        A quick one says nothing new and need not be recorded if there are no doubts.
        """
        if self.doubts:
            self.doubts -= 1
            if seconds >= LIMIT:
                self.add(seconds, size)
        elif seconds >= LIMIT:
            self.doubts = WINDOW


def fits_loop(times: RunTimes, size: int) -> bool:
    """Whether a request of `size` bytes may run on the loop."""
    return size <= times.loop_size
