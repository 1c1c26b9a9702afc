"""Holds a replica to its limits: cores, its share of a busy core, and memory.

Where this process may make cgroups (version 2) the kernel does all of it: `cpu.max`, `cpu.weight`, `memory.max`, and it
says when it ended a process for its memory. Elsewhere a replica runs on no more cores than it may use, with less weight
than others if it may use less than one; and its memory is looked at every second (`memory`), with RLIMIT_DATA far above
the limit for what grows faster than that. RLIMIT_AS would count what is only mapped, such as weights in a file;
RLIMIT_DATA counts memory of the process's own, but also what it asked for and never touched, so it cannot be the limit.
"""

from __future__ import annotations

import logging
import math
import os
import resource
from pathlib import Path

import msgspec

from colonnade import defaults
from colonnade.platforms.machine import CGROUPS

log = logging.getLogger(__name__)

_PERIOD = 100_000  # microseconds, of cpu.max: the kernel's own default
_NICE_STEP = 1.25  # weight of one step of nice, see sched(7)
_WEIGHT, _MOST_WEIGHT = 100, 10_000  # of cpu.weight: its default, its greatest


class Limits(msgspec.Struct, frozen=True):
    """The most that a replica may use.

    Attributes:
        cpu: thousandths of a core; 0 is no limit.
        weight: thousandths of a core that it shall get when all are busy; 0 says nothing.
        memory: bytes; 0 is no limit.
        cores: the cores that it runs on; none for all.
    """

    cpu: int = 0
    weight: int = 0
    memory: int = 0
    cores: tuple[int, ...] = ()


class Limiter:
    """Applies limits to processes of this user, by cgroups where it may."""

    def __init__(self, parent: Path | None) -> None:
        """`parent` is a cgroup below which cgroups with `cpu` and `memory` can be made, or None: see `delegated`."""
        self._parent = parent

    def confines(self, run: str) -> bool:
        """Whether a cgroup of ours holds this run, so that the kernel watches its memory."""
        return self._parent is not None and (self._parent / run).is_dir()

    def apply(self, pid: int, run: str, limits: Limits) -> None:
        """Hold a process that was just started, and all that it will start, to its limits. `run` names it for good.

        What cannot be applied is logged: a replica without its limit is better than none.
        """
        if limits == Limits():
            return
        try:
            if limits.cores:
                os.sched_setaffinity(pid, limits.cores)
            if self._parent is not None:
                self._confine(self._parent / run, pid, limits)
                return
            if limits.cpu:
                nice = niceness(limits.cpu)
                if nice:
                    os.setpriority(os.PRIO_PROCESS, pid, nice)
            if limits.memory:
                backstop = data_limit(limits.memory)
                resource.prlimit(pid, resource.RLIMIT_DATA, (backstop, backstop))
        except ProcessLookupError:  # it has ended already, which is told elsewhere
            return
        except (OSError, ValueError) as error:
            log.warning("a limit could not be applied", extra={"pid": pid, "error": str(error)})

    def ended_for_memory(self, run: str) -> bool:
        """Whether the kernel ended a process of this run for its memory."""
        if self._parent is None:
            return False
        try:
            events = (self._parent / run / "memory.events").read_text()
        except OSError:
            return False
        counts = dict(line.split(" ", 1) for line in events.splitlines() if " " in line)
        return int(counts.get("oom_kill", "0")) > 0

    def forget(self, run: str) -> None:
        """Remove what was kept of a run whose processes are gone."""
        if self._parent is not None:
            try:
                (self._parent / run).rmdir()
            except OSError:  # there was none, or a process is not quite gone: then it stays, empty, until the next
                return

    def _confine(self, folder: Path, pid: int, limits: Limits) -> None:
        folder.mkdir(exist_ok=True)
        if limits.cpu:
            (folder / "cpu.max").write_text(f"{limits.cpu * _PERIOD // 1000} {_PERIOD}")
        if limits.weight:
            (folder / "cpu.weight").write_text(str(weight(limits.weight)))
        if limits.memory:
            (folder / "memory.max").write_text(str(limits.memory))
            if (folder / "memory.oom.group").exists():
                (folder / "memory.oom.group").write_text("1")  # half a replica serves nobody
        (folder / "cgroup.procs").write_text(str(pid))


def niceness(cpu: int) -> int:
    """The nice value that gives one who may use less than a core the weight of that part of one. Pure."""
    if cpu >= 1000:
        return 0
    return min(19, round(math.log(1000 / cpu) / math.log(_NICE_STEP)))


def weight(cpu: int) -> int:
    """cpu.weight for thousandths of a core: one core is the kernel's default. Pure."""
    return min(_MOST_WEIGHT, max(1, cpu * _WEIGHT // 1000))


def data_limit(memory: int) -> int:
    """RLIMIT_DATA for a limit on memory: it stops what runs away, and no process that stays within its limit. Pure."""
    return 2 * memory + defaults.DATA_LIMIT_SLACK


def delegated(name: str, root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> Path | None:
    """A cgroup of our own in which limits can be set, or None where this process may not make one.

    That takes cgroup v2 and a cgroup that was handed to this user with nobody else in it (`systemd-run --user --scope
    -p Delegate=yes colonnade up`, a systemd service with `Delegate=yes`). A cgroup with processes cannot have
    controllers for those below it, so this process moves into one beside the replicas.
    """
    own = next((line[3:] for line in _lines(membership) if line.startswith("0::")), None)
    if own is None:
        return None
    base = root / own.lstrip("/")
    base = base.parent if base.name == f"{name}.control" else base  # a control plane before us moved those it left
    if not {"cpu", "memory"} <= {word for line in _lines(base / "cgroup.controllers") for word in line.split()}:
        return None
    if not os.access(base, os.W_OK):
        return None
    control, replicas = base / f"{name}.control", base / f"{name}.replicas"
    try:
        control.mkdir(exist_ok=True)
        (control / "cgroup.procs").write_text(str(os.getpid()))
        (base / "cgroup.subtree_control").write_text("+cpu +memory")
        replicas.mkdir(exist_ok=True)
        (replicas / "cgroup.subtree_control").write_text("+cpu +memory")
    except OSError as error:
        log.info("limits are set without cgroups", extra={"cgroup": str(base), "error": str(error)})
        return None
    return replicas


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
