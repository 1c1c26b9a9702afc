"""Replicas as real processes: start, readiness, crash, stop, adoption, strays, logs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from colonnade import errors
from colonnade.platforms import process
from colonnade.platforms.base import Probe, ReplicaSpec
from colonnade.platforms.local import LocalPlatform
from colonnade.platforms.records import RECORD, Record

SERVER = textwrap.dedent(
    """
    import http.server, os, socketserver, sys
    class Handler(http.server.BaseHTTPRequestHandler):
        def address_string(self): return "unix"
        def log_message(self, *a): pass
        def do_GET(self):
            known = self.path == "/v2/health/ready"
            self.send_response(200 if known and os.path.exists("ready") else 503 if known else 404)
            self.send_header("Content-Length", "0"); self.end_headers()
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True
    print("listening", flush=True)
    Server(sys.argv[1], Handler).serve_forever()
    """
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def platform(state: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(state) as platform:
        await platform.adopt()
        yield platform
        for replica in platform.list():
            await platform.stop(replica.spec.key, 0.0)


def program(code: str, name: str = "one", **fields: object) -> ReplicaSpec:
    return ReplicaSpec(
        name=name, namespace="ns", argv=(sys.executable, "-c", code), http="unix:/nowhere", grace=5.0, **fields
    )


def server(tmp_path: Path) -> ReplicaSpec:
    path = str(tmp_path / "s.sock")
    probe = Probe("http", f"unix:{path}", ("/first", "/v2/health/ready"))
    return ReplicaSpec("one", "ns", (sys.executable, "-c", SERVER, path), f"unix:{path}", probe=probe)


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


SLEEP = "import time; time.sleep(60)"


async def test_ready_is_what_the_protocol_says(platform: LocalPlatform, tmp_path: Path) -> None:
    changed: list[str] = []
    platform.subscribe(changed.append)
    await platform.start(server(tmp_path))
    await until(lambda: "503" in platform.get("ns/one").reason)
    assert not platform.get("ns/one").ready
    (platform.folder("ns/one") / "ready").touch()
    await until(lambda: platform.get("ns/one").ready)
    assert set(changed) == {"ns/one"}
    assert b"listening" in platform.log_paths("ns/one").current.read_bytes()


async def test_one_that_is_stuck_is_told_after_as_many_failures_as_are_allowed(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    asked, stuck = tmp_path / "asked", tmp_path / "stuck"
    ask = ("sh", "-c", f"echo . >> {asked}; ! test -e {stuck}")
    await platform.start(program(SLEEP, liveness=Probe("exec", command=ask, failures=3, period=0.02)))
    await until(lambda: asked.exists() and asked.stat().st_size > 8)
    assert not platform.get("ns/one").stuck
    stuck.touch()
    before = asked.stat().st_size
    await until(lambda: platform.get("ns/one").stuck)
    assert platform.get("ns/one").stuck.endswith("exited with 1")
    assert platform.get("ns/one").running, "who runs it decides what becomes of it"
    assert asked.stat().st_size - before in (6, 8)  # three failures; one question may have been under way


async def test_liveness_is_not_asked_before_the_replica_was_ready_if_so_wanted(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    dead = Probe("exec", command=("false",), failures=1, period=0.02, once_ready=True)
    spec = msgspec.structs.replace(server(tmp_path), liveness=dead)
    await platform.start(spec)
    await until(lambda: "503" in platform.get("ns/one").reason)
    assert not platform.get("ns/one").stuck
    (platform.folder("ns/one") / "ready").touch()
    await until(lambda: platform.get("ns/one").stuck)


async def test_a_crash_shows_code_and_last_words(platform: LocalPlatform) -> None:
    code = "import sys, os; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    termination = platform.folder("ns/one") / "termination.json"
    write = f'open({str(termination)!r}, \'w\').write(\'{{"reason": "ModelLoadFailed", "exitCode": 3}}\');'
    await platform.start(program(write + code, termination=str(termination)))
    await until(lambda: not platform.get("ns/one").running)
    state = platform.get("ns/one")
    assert (state.exit_code, state.signal, state.termination.reason) == (3, None, "ModelLoadFailed")
    assert platform.log_paths("ns/one").current.read_text() == "out\nerr\n"


async def test_a_new_run_keeps_the_output_of_the_one_before(platform: LocalPlatform) -> None:
    await platform.start(program("print('first')"))
    await until(lambda: not platform.get("ns/one").running)
    await platform.start(program("print('second')"))
    await until(lambda: not platform.get("ns/one").running)
    logs = platform.log_paths("ns/one")
    assert (logs.previous.read_text(), logs.current.read_text()) == ("first\n", "second\n")


async def test_kill_9_is_seen(platform: LocalPlatform) -> None:
    await platform.start(program(SLEEP))
    os.kill(platform.get("ns/one").pid, signal.SIGKILL)
    await until(lambda: not platform.get("ns/one").running)
    assert platform.get("ns/one").signal == signal.SIGKILL


async def test_a_running_replica_is_not_started_twice_nor_forgotten(platform: LocalPlatform) -> None:
    await platform.start(program(SLEEP))
    with pytest.raises(errors.AlreadyExists):
        await platform.start(program(SLEEP))
    with pytest.raises(errors.Conflict):
        await platform.forget("ns/one")


async def test_stop_ends_what_fled_into_a_session_of_its_own(platform: LocalPlatform) -> None:
    code = "import subprocess, sys, time\n"
    code += f"kid = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)\n"
    code += "open('kid.new', 'w').write(str(kid.pid)); import os; os.rename('kid.new', 'kid'); time.sleep(60)"
    await platform.start(program(code))
    kid = platform.folder("ns/one") / "kid"
    await until(kid.exists)
    pid = int(kid.read_text())
    await platform.stop("ns/one")
    await until(lambda: process.identify(pid) is None)
    await platform.forget("ns/one")
    assert platform.get("ns/one") is None
    assert not platform.folder("ns/one").exists()


async def test_the_record_is_private(platform: LocalPlatform) -> None:
    await platform.start(program(SLEEP, env={"PASSWORD": "s3cret"}))
    path = platform.folder("ns/one") / RECORD
    assert path.stat().st_mode & 0o777 == 0o600
    assert platform.log_paths("ns/one").current.stat().st_mode & 0o777 == 0o600


async def test_output_is_rotated_while_the_process_writes(state: Path) -> None:
    async with LocalPlatform(state, log_bytes=1000) as platform:
        code = "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.001)"
        await platform.start(program(code))
        logs = platform.log_paths("ns/one")
        try:
            await until(logs.previous.exists, 15)
            size = logs.previous.stat().st_size
            assert size > 1000
            await until(lambda: logs.current.stat().st_size > 0)
            assert logs.current.read_bytes()[:1] == b"x"  # append mode: no hole after the truncation
        finally:
            await platform.stop("ns/one")


FOREIGN = textwrap.dedent(
    """
    import asyncio, os, sys, pathlib, msgspec
    from colonnade.platforms.base import ReplicaSpec
    from colonnade.platforms.local import LocalPlatform
    async def main():
        async with LocalPlatform(pathlib.Path(sys.argv[1])) as platform:
            await platform.adopt()
            for spec in msgspec.json.decode(sys.argv[2], type=list[ReplicaSpec]):
                await platform.start(spec)
            print("started", flush=True)
            await asyncio.sleep(60)
    asyncio.run(main())
    """
)


def killed_control_plane(state: Path, *specs: ReplicaSpec) -> None:
    """Start replicas from another process and kill that process with SIGKILL."""
    words = [sys.executable, "-c", FOREIGN, str(state), msgspec.json.encode(specs).decode()]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"started\n"
        other.kill()


async def test_replicas_outlive_the_control_plane_and_are_adopted(state: Path, tmp_path: Path) -> None:
    ready = server(tmp_path)
    killed_control_plane(state, ready, program(SLEEP, "two"))
    (state / "replicas" / "ns.one" / "ready").touch()
    async with LocalPlatform(state) as platform:
        await platform.adopt()
        one, two = platform.get("ns/one"), platform.get("ns/two")
        assert one.running
        assert two.running
        await until(lambda: platform.get("ns/one").ready)
        os.kill(two.pid, signal.SIGKILL)
        await until(lambda: not platform.get("ns/two").running)
        assert platform.get("ns/two").exit_code is None
        await platform.stop("ns/one")
    assert not process.alive(record(state, "ns.one").identity)


async def test_one_that_died_meanwhile_is_listed_and_one_that_was_stopped_is_not(state: Path) -> None:
    killed_control_plane(state, program(SLEEP), program(SLEEP, "two"))
    async with LocalPlatform(state) as platform:
        await platform.adopt()
        await platform.stop("ns/two")
    identity = record(state, "ns.one").identity
    process.kill([identity])
    await until(lambda: not process.alive(identity))
    async with LocalPlatform(state) as platform:
        await platform.adopt()
        assert [found.spec.key for found in platform.list()] == ["ns/one"]
        assert not platform.get("ns/one").running


async def test_a_start_that_was_not_recorded_is_no_orphan(state: Path) -> None:
    killed_control_plane(state, program(SLEEP))
    written = record(state, "ns.one")
    intent = msgspec.structs.replace(written, identity=None)
    (state / "replicas" / "ns.one" / RECORD).write_bytes(msgspec.json.encode(intent))
    async with LocalPlatform(state) as platform:
        await platform.adopt()
        assert platform.list() == []
        await until(lambda: not process.alive(written.identity))


async def test_a_pid_that_was_given_again_is_left_alone(state: Path) -> None:
    killed_control_plane(state, program(SLEEP))
    written = record(state, "ns.one")
    process.kill([written.identity])
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as stranger:
        identity = msgspec.structs.replace(written.identity, pid=stranger.pid, ticks=written.identity.ticks - 1)
        fake = msgspec.structs.replace(written, identity=identity)
        (state / "replicas" / "ns.one" / RECORD).write_bytes(msgspec.json.encode(fake))
        async with LocalPlatform(state) as platform:
            await platform.adopt()
            assert not platform.get("ns/one").running
            await platform.stop("ns/one", 0.0)
        assert stranger.poll() is None
        stranger.kill()


def record(state: Path, folder: str) -> Record:
    return msgspec.json.decode((state / "replicas" / folder / RECORD).read_bytes(), type=Record)
