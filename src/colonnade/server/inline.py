"""Whether a model call may run on the event loop: a pure decision over observed run times.

A hop to a thread and back costs some 30 us; a small ONNX model takes 5 us. So a model whose calls are surely short
runs where the request arrived. One slow call there would stall every connection, hence the rule is strict: the slowest
of the last calls was under half a millisecond, and the request is no larger than those that were seen.

A call on the worker thread counts with the CPU time of that thread: its wall time holds waits for the interpreter lock,
which would make a quick model look slow just when the load is high. That is sound only for a model whose predict waits
for nothing, which is what `Model.inline` promises. A call on the loop counts with its wall time, which is what the loop
loses; a machine that takes the processor away in between sends the next calls to the thread, and they come back.
"""

from __future__ import annotations

from collections import deque

LIMIT = 0.0005  # seconds; well under the millisecond after which work must leave the loop
WINDOW = 32  # calls that are remembered
ENOUGH = 8  # calls that must have been seen before the first one runs on the loop


class RunTimes:
    """The last calls of one model: their seconds and request sizes in bytes."""

    __slots__ = ("_calls", "largest", "slowest")

    def __init__(self) -> None:
        self._calls: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self.slowest = 0.0
        self.largest = 0

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


def fits_loop(times: RunTimes, size: int) -> bool:
    """Whether a request of `size` bytes may run on the loop."""
    return len(times) >= ENOUGH and times.slowest < LIMIT and size <= times.largest
