"""Replicas that are forked by a process which has made their imports: like others, only sooner there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from colonnade.platforms import pool as pools
from colonnade.platforms import process
from colonnade.platforms.base import Probe, ReplicaSpec, Seed
from colonnade.platforms.local import LocalPlatform

SEED = Seed((sys.executable, "-m", "colonnade.server.seed", "python"))

MODEL = """
import json, os, random, sys
import numpy as np
import colonnade

class Told(colonnade.Model):
    def load(self):
        if os.environ.get("CRASH"):
            raise ValueError(os.environ["CRASH"])
        print("loaded by", os.getpid(), flush=True)

    def predict(self, payload: dict) -> dict:
        if payload["instances"][0] == "exit":
            os._exit(7)
        folder = "/proc/self/fd"
        descriptors = [fd for fd in os.listdir(folder) if os.path.islink(f"{folder}/{fd}")]
        return {"predictions": [{
            "argv": sys.argv[1:], "orig": sys.orig_argv, "env": dict(os.environ), "cwd": os.getcwd(),
            "random": [random.random(), float(np.random.random())], "parent": os.getppid(), "session": os.getsid(0),
            "descriptors": descriptors, "group": os.getpgid(0), "path": sys.path[0],
        }]}
"""


async def until(condition, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def platform(state: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(state) as platform:
        await platform.adopt()
        yield platform
        for replica in platform.list():
            await platform.stop(replica.spec.key, 2.0)


def spec(folder: Path, name: str = "one", seed: Seed | None = SEED, **env: str) -> ReplicaSpec:
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "model.py").write_text(MODEL)
    path = folder / f"{name}.sock"
    words = ("--model-name", "m", "--runtime", "python", "--model-dir", str(model), "--socket", str(path))
    termination = str(folder / f"{name}.json")
    return ReplicaSpec(
        name=name,
        namespace="ns",
        argv=(sys.executable, "-m", "colonnade.server", *words, "--termination-file", termination),
        http=f"unix:{path}",
        probe=Probe("http", f"unix:{path}", ("/v2/health/ready",)),
        env={"GREETING": "hello", **env},
        seed=seed,
        termination=termination,
        grace=5.0,
    )


async def ask(found: ReplicaSpec, instance: str = "") -> dict:
    from colonnade.net import Address, Upstream

    upstream = Upstream(Address.parse(found.http))
    try:
        body = json.dumps({"instances": [instance]}).encode()
        response = await upstream.fetch("POST", "/v1/models/m:predict", body=body, timeout=10)
        return json.loads(response.body)["predictions"][0]
    finally:
        upstream.close()


async def grown(platform: LocalPlatform, seed: Seed = SEED) -> int:
    """The id of a seed that can fork."""
    platform.plant(seed)
    await until(lambda: platform.pool.ready(seed))
    return seed_pids()[-1]


def seed_pids() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                status = (entry / "status").read_text()
            except OSError:
                continue
            ours = f"PPid:\t{os.getpid()}\n" in status and "State:\tZ" not in status
            if ours and b"colonnade.server.seed" in words:
                found.append(int(entry.name))
    return sorted(found)


async def test_a_fork_is_as_if_the_program_had_been_started(platform: LocalPlatform, tmp_path: Path) -> None:
    forked, started = spec(tmp_path, "forked"), spec(tmp_path, "started", None)
    parent = await grown(platform)
    for each in (forked, started):
        await platform.start(each)
    await until(lambda: all(state.ready for state in platform.list()))
    mine, other = await ask(forked), await ask(started)
    assert (mine["parent"], other["parent"]) == (parent, os.getpid())
    assert mine["session"] == mine["group"] == platform.get("ns/forked").pid
    assert mine["orig"] == list(forked.argv)
    assert [word.replace("forked", "started") for word in mine["argv"]] == other["argv"]
    assert mine["cwd"] == str(platform.folder("ns/forked"))
    assert mine["path"] == other["path"].replace("started", "forked")
    own = {process.RUN_VARIABLE}
    assert {k: v for k, v in mine["env"].items() if k not in own} == {
        k: v for k, v in other["env"].items() if k not in own
    }
    assert len(mine["descriptors"]) == len(other["descriptors"])
    output = platform.log_paths("ns/forked").current.read_text()
    assert f"loaded by {platform.get('ns/forked').pid}" in output


async def test_proc_shows_a_fork_as_what_it_is(platform: LocalPlatform, state: Path, tmp_path: Path) -> None:
    await grown(platform)
    await platform.start(spec(tmp_path))
    pid = platform.get("ns/one").pid
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert [word.decode() for word in words] == list(spec(tmp_path).argv)
    record = json.loads((platform.folder("ns/one") / "replica.json").read_bytes())
    assert [found.pid for found in process.of_run(str(state), record["run"])] == [pid]


async def test_forks_of_one_seed_draw_different_numbers(platform: LocalPlatform, tmp_path: Path) -> None:
    await grown(platform)
    both = [spec(tmp_path, name) for name in ("one", "two")]
    for each in both:
        await platform.start(each)
    await until(lambda: all(state.ready for state in platform.list()))
    first, second = [(await ask(each))["random"] for each in both]
    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize(
    ("end", "code", "number"),
    [("exit", 7, None), ("kill", None, signal.SIGKILL), ("stop", 0, None), ("load", 3, None)],
)
async def test_the_end_of_a_fork_is_told_as_that_of_a_child(
    platform: LocalPlatform, tmp_path: Path, end: str, code: int | None, number: int | None
) -> None:
    await grown(platform)
    found = spec(tmp_path, **({"CRASH": "on purpose"} if end == "load" else {}))
    await platform.start(found)
    if end != "load":
        await until(lambda: platform.get("ns/one").ready)
    if end == "exit":
        with pytest.raises(Exception):  # noqa: B017  the connection breaks in one way or another
            await ask(found, "exit")
    elif end == "kill":
        os.kill(platform.get("ns/one").pid, signal.SIGKILL)
    elif end == "stop":
        await platform.stop("ns/one")
    await until(lambda: not platform.get("ns/one").running)
    state = platform.get("ns/one")
    assert (state.exit_code, state.signal) == (code, number)
    if end == "load":
        assert "on purpose" in state.termination.message


async def test_a_fork_outlives_its_seed_which_is_planted_again(platform: LocalPlatform, tmp_path: Path) -> None:
    parent = await grown(platform)
    await platform.start(spec(tmp_path))
    await until(lambda: platform.get("ns/one").ready)
    os.kill(parent, signal.SIGKILL)
    await until(lambda: not platform.pool.ready(SEED))
    assert (await ask(spec(tmp_path)))["env"]["GREETING"] == "hello"
    await until(lambda: platform.pool.ready(SEED))
    assert platform.get("ns/one").running
    await platform.start(spec(tmp_path, "two"))
    await until(lambda: platform.get("ns/two").ready)
    assert (await ask(spec(tmp_path, "two")))["parent"] == seed_pids()[-1] != parent
    os.kill(platform.get("ns/one").pid, signal.SIGTERM)
    await until(lambda: not platform.get("ns/one").running)


async def test_a_fork_outlives_the_platform_and_is_adopted(state: Path, tmp_path: Path) -> None:
    async with LocalPlatform(state) as first:
        await first.adopt()
        await grown(first)
        await first.start(spec(tmp_path))
        await until(lambda: first.get("ns/one").ready)
        pid = first.get("ns/one").pid
    assert not seed_pids()
    async with LocalPlatform(state) as second:
        await second.adopt()
        assert second.get("ns/one").pid == pid
        assert second.get("ns/one").ready
        await until(lambda: second.pool.ready(SEED))  # what was planted is planted again
        await second.stop("ns/one", 2.0)
        assert process.identify(pid) is None


async def test_a_seed_that_hangs_is_replaced_and_delays_nobody_long(
    platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "FORK_TIMEOUT", 0.1)
    parent = await grown(platform)
    os.kill(parent, signal.SIGSTOP)
    await platform.start(spec(tmp_path))
    await until(lambda: platform.get("ns/one").ready)
    assert (await ask(spec(tmp_path)))["parent"] == os.getpid()
    assert process.identify(parent) is None
    await until(lambda: platform.pool.ready(SEED))


async def test_a_seed_that_cannot_be_is_done_without(
    platform: LocalPlatform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given_up = {"replicas cannot be forked", "a seed could not be started", "a seed dies again and again"}
    threads = Seed((sys.executable, "-m", "colonnade.server.seed", "python"), {"OPENBLAS_NUM_THREADS": "2"})
    for seed in (threads, Seed((sys.executable, "-m", "colonnade.server.seed", "nothing")), Seed(("no-such-program",))):
        platform.plant(seed)
        await until(lambda: any(record.getMessage().split(";")[0] in given_up for record in caplog.records))
        caplog.clear()
        assert not platform.pool.ready(seed)
        found = spec(tmp_path, "one", seed)
        await platform.start(found)
        await until(lambda: platform.get("ns/one").ready)
        assert (await ask(found))["parent"] == os.getpid()
        await platform.stop("ns/one")


async def test_a_request_too_long_for_the_socket_is_started_as_a_program(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    await grown(platform)
    long = {f"LONG{number}": "x" * 100_000 for number in range(12)}
    found = spec(tmp_path, **long)
    await platform.start(found)
    await until(lambda: platform.get("ns/one").ready)
    assert (await ask(found))["parent"] == os.getpid()
    assert platform.pool.ready(SEED)


async def test_a_replica_that_is_ready_gets_the_next_one_a_seed(
    platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "SETTLE", 0.0)
    await platform.start(spec(tmp_path))
    await until(lambda: platform.pool.ready(SEED))
    await platform.start(spec(tmp_path, "two"))
    await until(lambda: platform.get("ns/two").ready)
    assert (await ask(spec(tmp_path, "two")))["parent"] in seed_pids()


async def test_the_seed_that_was_used_last_stays(state: Path, tmp_path: Path) -> None:
    seeds = [msgspec.structs.replace(SEED, env={"X": str(number)}) for number in range(3)]
    async with LocalPlatform(state, seeds=2) as platform:
        await platform.adopt()
        for seed in seeds[:2]:
            await grown(platform, seed)
        platform.plant(seeds[0])  # wanted again
        await grown(platform, seeds[2])
        assert [platform.pool.ready(seed) for seed in seeds] == [True, False, True]
        kept = json.loads((state / pools.PLANTED).read_bytes())
        assert [each["env"]["X"] for each in kept] == ["2", "0"]
        assert (state / pools.PLANTED).stat().st_mode & 0o777 == 0o600
