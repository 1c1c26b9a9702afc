"""The admin socket: tables swapped under load, sockets handed over, the end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat

import msgspec
import pytest

from colonnade.gateway import admin
from colonnade.gateway.routes import RouteTable
from colonnade.net import Exchange

from .conftest import Running, Serve, Start, iris, until


async def put(running: Running, table: RouteTable) -> int:
    answer = await running.admin_client.fetch("PUT", "/routes", body=msgspec.json.encode(table))
    return answer.status


async def test_routes_are_put_shown_and_kept(running: Running, serve: Serve) -> None:
    table = RouteTable(41, (iris(await serve(lambda exchange: exchange.reply(200, b"ok"))),))
    assert await put(running, table) == 200
    assert (await running.fetch("GET", "/x")).body == b"ok"
    shown = await running.admin_client.fetch("GET", "/routes")
    assert msgspec.json.decode(shown.body, type=RouteTable) == table
    assert admin.load(running.routes_file) == table


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]",
        b'{"version":"x"}',
        b'{"version":1,"routes":[{}]}',
        b"\xff",
        b'{"version":1,"routes":[{"namespace":"a","name":"b","model":"b",'
        b'"targets":[{"revision":"r","backends":[{"name":"p","http":"nonsense"}]}]}]}',
    ],
)
async def test_bad_table_changes_nothing(running: Running, serve: Serve, body: bytes) -> None:
    running.route(iris(await serve(lambda exchange: exchange.reply(200, b"ok"))))
    answer = await running.admin_client.fetch("PUT", "/routes", body=body)
    assert answer.status == 400
    assert json.loads(answer.body)["error"]
    assert (await running.fetch("GET", "/x")).body == b"ok"


async def test_health_metrics_and_unknown(running: Running) -> None:
    running.route(version=9)
    health = json.loads((await running.admin_client.fetch("GET", "/healthz")).body)
    assert health == {
        "pid": os.getpid(),
        "version": 9,
        "active": 0,
        "draining": False,
        "http": [f"127.0.0.1:{running.port}"],
        "grpc": None,
    }
    assert b"colonnade_gateway_in_flight" in (await running.admin_client.fetch("GET", "/metrics")).body
    assert (await running.admin_client.fetch("GET", "/what")).status == 404
    assert (await running.admin_client.fetch("DELETE", "/routes")).status == 405


async def test_swaps_under_load_fail_nothing(running: Running, serve: Serve) -> None:
    async def reply_later(exchange: Exchange) -> None:
        await asyncio.sleep(0.002)
        exchange.reply(200, b"ok")

    tasks: set[asyncio.Task[None]] = set()

    def app(exchange: Exchange) -> None:
        task = asyncio.create_task(reply_later(exchange))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    addresses = [await serve(app) for _ in range(4)]
    running.route(iris(*addresses[:2]))
    statuses: list[int] = []
    stop = False

    async def load() -> None:
        while not stop:
            statuses.append((await running.fetch("POST", "/x", b"{}")).status)

    clients = [asyncio.create_task(load()) for _ in range(8)]
    for turn in range(40):
        first = turn % 4
        backends = [addresses[first], addresses[(first + 1) % 4]]
        assert await put(running, RouteTable(turn, (iris(*backends),))) == 200
        done = len(statuses)
        await until(lambda: len(statuses) > done + 10)  # noqa: B023
    stop = True
    await asyncio.gather(*clients)
    assert len(statuses) > 400
    assert set(statuses) == {200}


async def test_replica_that_is_gone_is_closed_after_its_last_request(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []
    running.route(iris(await serve(held.append)))
    (replica,) = running.revision.balancer.members
    asked = asyncio.create_task(running.fetch("GET", "/x"))
    await until(lambda: bool(held))
    running.route()
    assert (await running.fetch("GET", "/x")).status == 404
    assert replica.http.open == 1
    held[0].reply(200, b"late")
    assert (await asked).body == b"late"
    await until(lambda: replica.http.open == 0)


async def test_replica_that_stays_keeps_its_connections(running: Running, serve: Serve) -> None:
    address = await serve(lambda exchange: exchange.reply(200))
    running.route(iris(address))
    (before,) = running.revision.balancer.members
    await running.fetch("GET", "/x")
    running.route(iris(address), version=2)
    (after,) = running.revision.balancer.members
    assert after is before
    assert after.http.open == 1


async def test_listening_sockets_are_handed_over(running: Running) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, f"{running.admin}.fds")
        readable = asyncio.Event()
        loop.add_reader(sock, readable.set)
        await readable.wait()
        loop.remove_reader(sock)
        data, fds, _, _ = socket.recv_fds(sock, 1000, 8)
    assert json.loads(data) == {"fds": ["http"]}
    with socket.socket(fileno=fds[0]) as duplicate:
        assert duplicate.getsockname()[1] == running.port
        await running.end()
        # The gateway is gone; a connection now waits for whoever accepts on the duplicate.
        with socket.create_connection(("127.0.0.1", running.port), timeout=5):
            accepted, _ = duplicate.accept()
            accepted.close()


async def test_drain_denies_readiness_and_lets_requests_end(start: Start, serve: Serve) -> None:
    running = await start(grace=5.0)
    held: list[Exchange] = []
    running.route(iris(await serve(held.append)))
    _, early = await running.connect()
    asked = asyncio.create_task(running.fetch("GET", "/x"))
    await until(lambda: bool(held))
    answer = await running.admin_client.fetch("POST", "/drain")
    assert answer.status == 202
    ending = asyncio.create_task(running.end())
    health = json.loads((await running.admin_client.fetch("GET", "/healthz")).body)
    assert (health["draining"], health["active"]) == (True, 1)
    held[0].reply(200, b"late")
    answer = await asked
    assert (answer.status, answer.body) == (200, b"late")
    async with asyncio.timeout(5):
        await ending
    early.close()


async def test_admin_sockets_are_private(running: Running) -> None:
    for path in (str(running.admin), f"{running.admin}.fds"):
        assert stat.S_ISSOCK(os.stat(path).st_mode)


async def test_unreadable_routes_file_is_an_empty_table(tmp_path: os.PathLike[str]) -> None:
    from pathlib import Path

    file = Path(tmp_path) / "r.json"
    assert admin.load(file) == RouteTable()
    file.write_bytes(b"\xff{")
    assert admin.load(file) == RouteTable()
