"""Limits on real processes, and by cgroups in a folder that looks like one: a real one takes a right few tests have."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from colonnade.platforms import memory
from colonnade.platforms.base import ReplicaSpec
from colonnade.platforms.limits import Limiter, Limits, data_limit, delegated, niceness, weight
from colonnade.platforms.local import LocalPlatform

from .test_local import until


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(("cpu", "nice"), [(1000, 0), (4000, 0), (800, 1), (500, 3), (100, 10), (1, 19)])
def test_less_than_a_core_is_less_weight(cpu: int, nice: int) -> None:
    assert niceness(cpu) == nice


@pytest.mark.parametrize(("cpu", "share"), [(1000, 100), (250, 25), (1, 1), (500_000, 10_000)])
def test_weight(cpu: int, share: int) -> None:
    assert weight(cpu) == share


def test_without_cgroups(sleeper: subprocess.Popen[bytes]) -> None:
    core = min(os.sched_getaffinity(0))
    Limiter(None).apply(sleeper.pid, "run", Limits(500, 250, 1 << 30, (core,)))
    assert os.sched_getaffinity(sleeper.pid) == {core}
    assert os.getpriority(os.PRIO_PROCESS, sleeper.pid) == 3
    assert resource.prlimit(sleeper.pid, resource.RLIMIT_DATA) == (data_limit(1 << 30),) * 2


def test_nothing_is_done_without_limits_or_to_one_that_has_ended(
    sleeper: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    Limiter(None).apply(sleeper.pid, "run", Limits())
    assert resource.prlimit(sleeper.pid, resource.RLIMIT_DATA) == resource.getrlimit(resource.RLIMIT_DATA)
    sleeper.kill()
    sleeper.wait()
    Limiter(None).apply(sleeper.pid, "run", Limits(cores=(0,)))
    assert not caplog.records


def test_a_limit_that_cannot_be_applied_is_told(
    sleeper: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    Limiter(None).apply(sleeper.pid, "run", Limits(cores=(4000,)))
    assert "a limit could not be applied" in caplog.text


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    folder = tmp_path / "cg" / "user.scope"
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text("cpu io memory pids\n")
    (tmp_path / "membership").write_text("0::/user.scope\n")
    return folder


def test_a_cgroup_of_our_own(cgroup: Path, tmp_path: Path) -> None:
    replicas = delegated("us", tmp_path / "cg", tmp_path / "membership")
    assert replicas == cgroup / "us.replicas"
    assert (cgroup / "us.control" / "cgroup.procs").read_text() == str(os.getpid())
    assert (cgroup / "cgroup.subtree_control").read_text() == "+cpu +memory"

    limiter = Limiter(replicas)
    limiter.apply(1234, "run", Limits(1500, 500, 1 << 30))
    folder = cgroup / "us.replicas" / "run"
    written = {file.name: file.read_text() for file in folder.iterdir()}
    assert written == {
        "cpu.max": "150000 100000",
        "cpu.weight": "50",
        "memory.max": str(1 << 30),
        "cgroup.procs": "1234",
    }
    assert limiter.confines("run")
    assert not limiter.confines("other")
    assert not limiter.ended_for_memory("run")
    (folder / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 2\n")
    assert limiter.ended_for_memory("run")

    (tmp_path / "membership").write_text("0::/user.scope/us.control\n")  # as the next control plane may find itself
    assert delegated("us", tmp_path / "cg", tmp_path / "membership") == replicas


@pytest.mark.parametrize("text", ["", "5:memory:/x\n", "0::/elsewhere\n"])
def test_no_cgroup_of_our_own(cgroup: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "membership").write_text(text)
    assert delegated("us", tmp_path / "cg", tmp_path / "membership") is None


def test_a_cgroup_that_others_are_in_is_left_alone(cgroup: Path, tmp_path: Path) -> None:
    (cgroup / "cgroup.subtree_control").mkdir()  # as the kernel does, it refuses the write
    assert delegated("us", tmp_path / "cg", tmp_path / "membership") is None
    (cgroup / "cgroup.controllers").write_text("io pids\n")
    assert delegated("us", tmp_path / "cg", tmp_path / "membership") is None


def test_memory_of_its_own_counts_and_mapped_files_do_not(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"x" * (64 << 20))
    code = (
        "import mmap, sys\n"
        f"file = open({str(weights)!r}, 'rb')\n"
        "held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(held[::4096])\n"
        "own = bytearray(b'x' * (32 << 20))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        assert memory.groups([process.pid]) == {process.pid: [process.pid]}
        assert 32 << 20 < memory.shares([process.pid]) <= memory.own([process.pid]) < 60 << 20
        assert list(memory.over({process.pid: 30 << 20})) == [process.pid]
        assert memory.over({process.pid: 60 << 20}) == {}
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()
    assert memory.over({process.pid: 1}) == {}


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(tmp_path / "state") as platform:
        yield platform
        for state in platform.list():
            await platform.stop(state.spec.key, 0.0)


async def test_a_replica_over_its_limit_is_ended_and_it_says_why(platform: LocalPlatform) -> None:
    code = "import time; kept = b'x' * (200 << 20); time.sleep(60)"
    limits = Limits(memory=100 << 20)
    await platform.start(ReplicaSpec("p", "ns", (sys.executable, "-c", code), "unix:/nowhere", limits=limits))
    await until(lambda: not platform.get("ns/p").running)
    state = platform.get("ns/p")
    assert state.signal == signal.SIGKILL
    assert "its limit is 104857600 bytes" in state.out_of_memory


async def test_an_adopted_replica_keeps_to_its_limit_too(platform: LocalPlatform, tmp_path: Path) -> None:
    code = "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)\n"
    code += "kept = b'x' * (200 << 20); time.sleep(60)"
    spec = ReplicaSpec("p", "ns", (sys.executable, "-c", code), "unix:/nowhere", limits=Limits(memory=100 << 20))
    await platform.start(spec)
    async with LocalPlatform(tmp_path / "state") as successor:
        await successor.adopt()
        (successor.folder("ns/p") / "go").touch()
        await until(lambda: not successor.get("ns/p").running)
        assert successor.get("ns/p").out_of_memory or platform.get("ns/p").out_of_memory


async def test_what_runs_away_is_stopped_before_anybody_looks(platform: LocalPlatform) -> None:
    code = "kept = bytearray(4 << 30)"
    await platform.start(
        ReplicaSpec("p", "ns", (sys.executable, "-c", code), "unix:/nowhere", limits=Limits(memory=100 << 20))
    )
    await until(lambda: not platform.get("ns/p").running)
    assert "MemoryError" in platform.log_paths("ns/p").current.read_text()
