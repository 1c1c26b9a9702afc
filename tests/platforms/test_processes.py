"""Identities, marks, environments and ends of processes, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from colonnade import errors
from colonnade.platforms import process
from colonnade.platforms.process import Identity, Process


def spawn(tmp_path: Path, code: str, run: str = "run") -> process.subprocess.Popen[bytes]:
    env = process.environment(os.environ, process.marks(str(tmp_path), run))
    return process.spawn([sys.executable, "-c", code], env=env, cwd=tmp_path, output=tmp_path / "out")


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_environment_is_a_clean_subset() -> None:
    parent = {"PATH": "/bin", "HOME": "/h", "AWS_SECRET_ACCESS_KEY": "s", "OMP_NUM_THREADS": "4", "LC_ALL": "C"}
    found = process.environment(parent, {"X": "1"})
    assert found == {
        "PATH": f"{os.path.dirname(sys.executable)}:/bin",
        "HOME": "/h",
        "OMP_NUM_THREADS": "4",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C",
        "X": "1",
    }
    assert process.environment({}, {})["OMP_NUM_THREADS"] == "1"
    assert process.environment(parent, {"OMP_NUM_THREADS": "8"})["OMP_NUM_THREADS"] == "8"


def test_an_identity_is_more_than_a_pid() -> None:
    me = process.identify(os.getpid())
    assert me is not None
    assert process.alive(me)
    assert not process.alive(Identity(me.pid, me.ticks + 1, me.boot))
    assert not process.alive(Identity(me.pid, me.ticks, "another boot"))


def test_kill_spares_a_process_that_has_the_same_pid_only(tmp_path: Path) -> None:
    child = spawn(tmp_path, "import time; time.sleep(60)")
    identity = process.identify(child.pid)
    assert identity is not None
    process.kill([Identity(identity.pid, identity.ticks - 1, identity.boot)])
    assert child.poll() is None
    process.kill([identity])
    assert child.wait(5) == -signal.SIGKILL


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.LoadFailed, match="no-such-program"):
        process.spawn(["no-such-program"], env={"PATH": "/bin"}, cwd=tmp_path, output=tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "exit_code", "number"),
    [("raise SystemExit(7)", 7, None), ("import os; os.kill(os.getpid(), 15)", None, 15), ("pass", 0, None)],
)
async def test_the_end_of_a_child(tmp_path: Path, code: str, exit_code: int | None, number: int | None) -> None:
    ended: list[bool] = []
    watched = Process.of_child(spawn(tmp_path, code), lambda: ended.append(True))
    await asyncio.wait_for(watched.ended.wait(), 10)
    assert (watched.exit_code, watched.signal, ended) == (exit_code, number, [True])


async def test_what_a_leader_leaves_in_its_group_dies_with_it(tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0:\n  open('kid','w').write(str(os.getpid())); time.sleep(60)\n"
    code += "while not os.path.exists('kid') or not open('kid').read(): time.sleep(0.01)\n"
    watched = Process.of_child(spawn(tmp_path, code), lambda: None)
    await asyncio.wait_for(watched.ended.wait(), 10)
    kid = int((tmp_path / "kid").read_text())
    await until(lambda: process.identify(kid) is None)


async def test_end_is_polite_first_and_then_is_not(tmp_path: Path) -> None:
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nopen('up','w').close()\ntime.sleep(60)"
    watched = Process.of_child(spawn(tmp_path, code), lambda: None)
    await until((tmp_path / "up").exists)
    await watched.end(0.1)
    assert watched.signal == signal.SIGKILL


async def test_strays_are_found_by_their_mark(tmp_path: Path) -> None:
    known, stray = (
        spawn(tmp_path, "import time; time.sleep(60)", "known"),
        spawn(tmp_path, "import time; time.sleep(60)"),
    )
    try:
        await until(lambda: len(process.strays(str(tmp_path))) == 2)
        assert [found.pid for found in process.strays(str(tmp_path), {"known"})] == [stray.pid]
        assert [found.pid for found in process.of_run(str(tmp_path), "known")] == [known.pid]
        assert process.strays(str(tmp_path / "elsewhere")) == []
    finally:
        for child in (known, stray):
            child.kill()
            child.wait()
