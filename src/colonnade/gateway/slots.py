"""How many requests a replica has of all gateway processes together.

A hard limit of one replica (`containerConcurrency`) is not met if each process counts its own requests only, and a
fixed part for each would leave a limit of 1 to one of them. So a request that goes to such a replica locks one of as
many bytes of a file that the processes share: the kernel keeps the count, and takes back what a killed process held. A
process alone needs no file.
"""

from __future__ import annotations

import fcntl
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

POLL = 0.003  # seconds, in the mean, between looks for a slot that another process may have freed
_MOST = 1 << 16  # slots of one replica


class Slots:
    """The shared file. `processes`: how many share it."""

    def __init__(self, path: Path, processes: int) -> None:
        """Raises:
        OSError: the file cannot be opened.
        """
        self.processes = processes
        # Open for as long as anybody has slots in it: closing it would give them back, and its number to another file.
        self._file = path.open("ab")
        path.chmod(0o600)

    def of(self, replica: str) -> ReplicaSlots:
        """Those of the replica with this name, of which this process holds none yet."""
        place = int.from_bytes(blake2b(replica.encode(), digest_size=5).digest()) * _MOST
        return ReplicaSlots(self._file, place, self.processes)


class ReplicaSlots:
    """The slots of one replica, as one process sees them."""

    __slots__ = ("_file", "_held", "_place", "_processes")

    def __init__(self, file: BinaryIO, place: int, processes: int) -> None:
        self._file = file
        self._place = place
        self._processes = processes
        self._held: list[int] = []

    def take(self, limit: int) -> bool:
        """Take one of `limit` slots, if one is free."""
        for number in range(min(limit, _MOST)):
            if number not in self._held:
                try:
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._place + number)
                except OSError:
                    continue
                self._held.append(number)
                return True
        return False

    def keep(self, count: int) -> None:
        """Free those that are more than `count`, the requests that the replica has of this process. With a limit that
        is new it has some that hold none."""
        while len(self._held) > count:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._place + self._held.pop())

    def part(self, limit: int) -> int:
        """How many of `limit` are the part of this process, if all want some; 0 if there are more processes."""
        return limit // self._processes

    def modest(self, limit: int) -> bool:
        """Whether this process would still hold no more than its part of `limit` with one more. If not, another one
        may be waiting for it, and is to have the chance."""
        return len(self._held) < self.part(limit)
