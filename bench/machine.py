"""This machine: which core serves and which loads, and what a tree of processes costs.

Servers get the first core that is allowed, all load the second, so figures are per core and the load never takes time
from what it measures. On a shared machine the run gives its sessions more weight than other work (root only).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
WORK = Path(__file__).parent / ".work"
SCRATCH = WORK / "scratch" / str(os.getpid())  # of this process

STOP_TIMEOUT = 10.0


class Unfit(Exception):
    """A measurement that yields no figure, with the reason for the report."""


_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[1 % len(_CORES)]


def prepare() -> None:
    """An empty folder for this process; those of processes that are gone go."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    for folder in SCRATCH.parent.iterdir():
        if folder.name.isdigit() and not psutil.pid_exists(int(folder.name)):
            shutil.rmtree(folder)


def take_load_core() -> None:
    """Keeps this process, and with it all load that it starts, off the servers' core."""
    os.sched_setaffinity(0, {LOAD_CORE})
    favour([psutil.Process()])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every server gets: one thread per library, and this package. Bytecode is kept, as in any installation: one
    that was edited since would be compiled anew by each process."""
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**given, **one, **(extra or {})}


def spawn(command: Sequence[str], log: Path) -> psutil.Process:
    """Starts a server in a session of its own on the servers' core."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return psutil.Process(started.pid)


def tree(root: psutil.Process) -> list[psutil.Process]:
    """The process and all that descend from it, those in sessions of their own too."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(root: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return root.is_running() and root.status() != psutil.STATUS_ZOMBIE
    return False


def favour(processes: Sequence[psutil.Process]) -> None:
    """Gives their sessions more weight than other work on a shared machine; without the right to, nothing happens."""
    for process in processes:
        with suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text("-15")


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time that they have used so far."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def awake_seconds(processes: Sequence[psutil.Process]) -> float:
    """The same of the threads that live, to the nanosecond: for an idle server, whose ticks are too few to count."""
    total = 0
    for process in processes:
        for task in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def pss_mb(process: psutil.Process) -> float:
    """Proportional set size: own memory, and a share of what is shared. In 10^6 bytes; 0 if it is gone."""
    try:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def stop(root: psutil.Process) -> None:
    """Ends the tree: politely, then surely."""
    everyone = tree(root)
    with suppress(psutil.NoSuchProcess):
        root.send_signal(signal.SIGTERM)
    _, alive_still = psutil.wait_procs(everyone, timeout=STOP_TIMEOUT)
    for straggler in alive_still:
        with suppress(psutil.NoSuchProcess):
            straggler.kill()
    psutil.wait_procs(alive_still, timeout=STOP_TIMEOUT)


def free_ports(count: int) -> list[int]:
    """Neighbouring TCP ports of loopback, of which the first is the kernel's choice."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            base: int = first.getsockname()[1]
        ports = list(range(base, base + count))
        if all(_free(port) for port in ports):
            return ports


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def describe() -> str:
    """The machine in a line."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cpu = found[1] if found else platform.machine()
    kernel = platform.release().split("-")[0]
    return f"{cpu}, {os.cpu_count()} cores, Linux {kernel}, Python {platform.python_version()}"


def calibration_ms() -> float:
    """How long a fixed loop takes now: it shows how far other work on the machine disturbs."""
    start = time.perf_counter()
    sum(i * i for i in range(300_000))
    return (time.perf_counter() - start) * 1e3
