"""What replicas have of memory of their own, from /proc: for limits where no cgroup watches them. See proc(5).

Memory of its own is anonymous memory, resident or swapped out. Mapped files count nowhere: they are page cache, which
the kernel takes back. Pages that processes share after a fork are first counted for each of them, which costs little;
only where that is over a limit they are counted by their shares, which makes the kernel walk all pages.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

PROC = Path("/proc")
_KIB = 1024
_GROUP = 2  # of the fields of /proc/PID/stat from `state` on


def groups(wanted: Iterable[int], proc: Path = PROC) -> dict[int, list[int]]:
    """The processes of process groups, by group."""
    found: dict[int, list[int]] = {group: [] for group in wanted}
    if not found:
        return found
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            group = int((proc / entry / "stat").read_bytes().rpartition(b")")[2].split()[_GROUP])
        except (OSError, IndexError):  # it ended
            continue
        if group in found:
            found[group].append(int(entry))
    return found


def own(pids: Iterable[int], proc: Path = PROC) -> int:
    """Bytes of these processes' own, with shared pages counted for each that has them."""
    return sum(_sum(proc / str(pid) / "status", (b"RssAnon:", b"VmSwap:")) for pid in pids)


def shares(pids: Iterable[int], proc: Path = PROC) -> int:
    """Bytes of these processes' own, with pages that several have counted by their shares."""
    return sum(_sum(proc / str(pid) / "smaps_rollup", (b"Pss_Anon:", b"SwapPss:")) for pid in pids)


def over(limits: Mapping[int, int], proc: Path = PROC) -> dict[int, int]:
    """The process groups that have more than their limit, and how much they have."""
    found: dict[int, int] = {}
    for group, pids in groups(limits, proc).items():
        if own(pids, proc) > limits[group] and (used := shares(pids, proc)) > limits[group]:
            found[group] = used
    return found


def _sum(file: Path, names: tuple[bytes, ...]) -> int:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:  # it ended, or belongs to somebody else by now
        return 0
    return _KIB * sum(int(line.split()[1]) for line in lines if line.startswith(names))
