"""The gateway as the process that the control plane starts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import msgspec
import pytest

from colonnade.gateway.grpc_proxy import SERVICE
from colonnade.gateway.routes import RouteTable
from colonnade.net import Address, Exchange, FetchedResponse, Upstream

from .conftest import HOST, Serve, bound, iris, until


class Process:
    """A gateway process in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        self.admin_path = str(folder / "gateway.sock")
        self.admin = Upstream(Address(path=self.admin_path))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "colonnade.gateway", "--admin", self.admin_path),
                *("--routes", str(folder / "routes.json"), *arguments),
            ],
            pass_fds=pass_fds,
            stderr=subprocess.PIPE,
            start_new_session=False,
        )

    async def ready(self) -> dict[str, object]:
        async with asyncio.timeout(15):
            while True:
                assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
                try:
                    return dict(json.loads((await self.admin.fetch("GET", "/healthz")).body))
                except Exception:
                    await asyncio.sleep(0.02)

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, 10.0)
        return self.process.returncode


Launch = Callable[..., Process]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    with tempfile.TemporaryDirectory() as folder:
        processes: list[Process] = []

        def starter(*arguments: str, pass_fds: tuple[int, ...] = ()) -> Process:
            processes.append(Process(Path(folder), *arguments, pass_fds=pass_fds))
            return processes[-1]

        yield starter
        for process in processes:
            process.admin.close()
            process.process.kill()
            process.process.wait()
            if process.process.stderr is not None:
                process.process.stderr.close()


async def fetch(address: object, path: str, method: str = "GET") -> FetchedResponse:
    client = Upstream(Address.parse(str(address)))
    try:
        return await client.fetch(method, path, [(b"host", HOST.encode())], timeout=10)
    finally:
        client.close()


async def test_routes_survive_a_kill(launch: Launch, serve: Serve) -> None:
    table = RouteTable(5, (iris(await serve(lambda exchange: exchange.reply(200, b"ok"))),))
    first = launch("--http", "127.0.0.1:0")
    await first.ready()
    assert (await first.admin.fetch("PUT", "/routes", body=msgspec.json.encode(table))).status == 200
    first.process.kill()
    await first.ended()
    second = launch("--http", "127.0.0.1:0")
    health = await second.ready()
    assert health["version"] == 5
    (address,) = health["http"]  # type: ignore[misc]
    assert (await fetch(address, "/x")).body == b"ok"


async def test_sigterm_ends_after_what_is_in_flight(launch: Launch, serve: Serve) -> None:
    held: list[Exchange] = []
    process = launch("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    health = await process.ready()
    table = RouteTable(1, (iris(await serve(held.append)),))
    await process.admin.fetch("PUT", "/routes", body=msgspec.json.encode(table))
    (address,) = health["http"]  # type: ignore[misc]
    asked = asyncio.create_task(fetch(address, "/x", "POST"))
    await until(lambda: bool(held))
    process.process.send_signal(signal.SIGHUP)
    process.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        while not json.loads((await process.admin.fetch("GET", "/healthz")).body)["draining"]:
            await asyncio.sleep(0.01)
    held[0].reply(200, b"late")
    assert (await asked).body == b"late"
    assert await process.ended() == 0
    left = sorted(path.name for path in Path(process.admin_path).parent.iterdir())
    assert left == ["gateway.sock", "gateway.sock.fds", "routes.json"]


async def test_inherited_sockets_outlive_a_killed_gateway(launch: Launch, serve: Serve) -> None:
    http, grpc_sock = bound(), bound()
    for sock in (http, grpc_sock):
        sock.listen(128)
    fds = (http.fileno(), grpc_sock.fileno())
    arguments = ("--http-fd", str(fds[0]), "--grpc-fd", str(fds[1]))
    address = f"127.0.0.1:{http.getsockname()[1]}"
    first = launch(*arguments, pass_fds=fds)
    health = await first.ready()
    assert health["http"] == [address]
    assert health["grpc"] == f"127.0.0.1:{grpc_sock.getsockname()[1]}"
    table = RouteTable(1, (iris(await serve(lambda exchange: exchange.reply(200, b"ok"))),))
    await first.admin.fetch("PUT", "/routes", body=msgspec.json.encode(table))
    first.process.kill()
    await first.ended()
    waiting = asyncio.create_task(fetch(address, "/x"))  # nobody accepts; the kernel holds it
    second = launch(*arguments, pass_fds=fds)
    assert (await waiting).body == b"ok"
    await second.ready()
    async with grpc.aio.insecure_channel(str(health["grpc"])) as channel:
        assert await channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=10)
    http.close()
    grpc_sock.close()


async def test_a_killed_gateway_leaves_no_socket_to_its_successor(launch: Launch) -> None:
    for _ in range(2):
        process = launch("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        await process.ready()
        folder = Path(process.admin_path).parent
        before = {path.name for path in folder.iterdir()}
        process.process.kill()
        await process.ended()
    last = launch("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    health = await last.ready()
    async with grpc.aio.insecure_channel(str(health["grpc"])) as channel:
        assert await channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=10)
    assert {path.name for path in folder.iterdir()} == before
    last.process.terminate()
    assert await last.ended() == 0
    assert not list(folder.glob("*.grpc"))


async def test_sockets_are_offered_to_a_restarted_control_plane(launch: Launch) -> None:
    process = launch("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    health = await process.ready()

    def ask() -> tuple[bytes, list[int]]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(f"{process.admin_path}.fds")
            data, fds, _, _ = socket.recv_fds(sock, 1000, 8)
            return data, fds

    data, fds = await asyncio.to_thread(ask)
    assert json.loads(data) == {"fds": ["http", "grpc"]}
    process.process.kill()
    await process.ended()
    successor = launch("--http-fd", str(fds[0]), "--grpc-fd", str(fds[1]), pass_fds=tuple(fds))
    again = await successor.ready()
    assert (again["http"], again["grpc"]) == (health["http"], health["grpc"])
    assert (await fetch(again["http"][0], "/healthz")).status == 200  # type: ignore[index]
    for fd in fds:
        os.close(fd)


async def test_admin_sockets_are_for_this_user(launch: Launch) -> None:
    process = launch("--http", "127.0.0.1:0")
    await process.ready()
    for path in (process.admin_path, f"{process.admin_path}.fds"):
        assert os.stat(path).st_mode & 0o077 == 0


def test_grpc_is_not_imported_without_a_grpc_address() -> None:
    code = "import sys, colonnade.gateway.__main__; print({m.split('.')[0] for m in sys.modules} & {'grpc', 'numpy'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "nothing to listen on"),
        (["--http", "nonsense"], "neither unix:"),
        (["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--grpc-fd", "9"], "exclude each other"),
        (["--http", "127.0.0.1:0", "--require-token"], "needs --token-file"),
        (["--http", "127.0.0.1:0", "--token-file", "/nowhere"], "No such file"),
        (["--http-fd", "999"], "Bad file descriptor"),
        (["--http", "192.0.2.1:80"], "cannot listen there"),
        (["--http", "127.0.0.1:0", "--max-message", "0"], "--max-message 0: give a number of bytes"),
        (["--http", "127.0.0.1:0", "--tls-cert", "/nowhere", "--tls-key", "/no"], "--tls-cert /nowhere cannot be read"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str], text: str) -> None:
    command = [sys.executable, "-m", "colonnade.gateway", "--admin", str(tmp_path / "a"), "--routes", "r", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr
