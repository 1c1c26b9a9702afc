"""What this machine has: cores, memory and GPUs, as far as this process may use them.

In a container the machine is what its cgroup allows, whatever /proc says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from colonnade.platforms.budget import MILLI

CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # cgroup v1 writes no limit as a number above this
_ASK_TIMEOUT = 10.0  # nvidia-smi takes seconds where no driver is loaded yet


def cores() -> tuple[int, ...]:
    """The numbers of the cores that this process may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Thousandths of cores that this process may use: its cores, or the quota of its cgroups."""
    found = [MILLI * len(cores())]
    for folder in _folders(root, membership, "cpu"):
        older = (*_words(folder / "cpu.cfs_quota_us", 1), *_words(folder / "cpu.cfs_period_us", 1))
        words = _words(folder / "cpu.max", 2) or older
        if len(words) == 2 and words[0].isdigit() and int(words[1]):  # "max" and "-1" are no quota
            found.append(max(1, MILLI * int(words[0]) // int(words[1])))
    return min(found)


def memory(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes of memory that this process may use: the machine's, or the limit of its cgroups."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _folders(root, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for word in _words(folder / name, 1):
                if word.isdigit() and int(word) < _UNLIMITED:
                    found.append(int(word))
    return min(found)


def gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The NVIDIA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return ()
    try:
        ran = subprocess.run(
            [program, "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_ASK_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer has no devices to offer
        return ()
    present = tuple(line.strip() for line in ran.stdout.splitlines() if line.strip().isdigit())
    if chosen is None:
        return present
    named = tuple(filter(None, (word.strip() for word in chosen.split(","))))
    return tuple(word for word in named if word in present or not word.isdigit())[: len(present)]


def _folders(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """The cgroup of this process for a controller, and those above it: the least limit of all counts."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        below = base / path.lstrip("/")
        for folder in (below, *below.parents):
            if folder.is_relative_to(base):
                yield folder


def _words(file: Path, count: int) -> tuple[str, ...]:
    """The words of a file, if it has so many."""
    try:
        words = tuple(file.read_text().split())
    except OSError:
        return ()
    return words if len(words) == count else ()
