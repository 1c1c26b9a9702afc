"""A hard limit that holds for all gateway processes together."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from colonnade.errors import Error
from colonnade.gateway.routes import RouteTable
from colonnade.gateway.slots import Slots
from colonnade.net import Address, Exchange, Upstream

from .conftest import HOST, Serve, iris, until
from .test_process import Process

HOLDER = """
import sys
from pathlib import Path
from colonnade.gateway.slots import Slots
slots = Slots(Path(sys.argv[1]), 2).of("r")
print(sum(slots.take(3) for _ in range(int(sys.argv[2]))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def test_processes_count_together_and_a_killed_one_gives_back(folder: Path) -> None:
    file = folder / "slots"
    mine = Slots(file, 2)
    ours, other = mine.of("r"), mine.of("another")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file), "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"2\n"
        assert ours.take(3)
        assert not ours.take(3)
        assert other.take(1), "each replica has its own"
        holder.kill()
        holder.wait()
    assert ours.take(3)
    assert ours.take(3)
    assert not ours.take(3)
    ours.keep(1)
    assert ours.take(3)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("held", "limit", "modest"), [(0, 1, False), (0, 2, True), (1, 2, False), (1, 4, True)])
def test_a_process_that_has_its_part_lets_others_have_the_next_slot(
    folder: Path, held: int, limit: int, modest: bool
) -> None:
    slots = Slots(folder / "slots", 2).of("r")
    assert all(slots.take(limit) for _ in range(held))
    assert slots.modest(limit) is modest


@pytest.fixture
async def pair(folder: Path) -> AsyncIterator[tuple[list[Process], list[str]]]:
    """Two gateways on the same routes file, and their addresses."""
    processes = []
    for name, other in (("a", "b"), ("b", "a")):
        (folder / name).mkdir()
        shared = ("--routes", str(folder / "routes.json"), "--sibling", str(folder / other / "gateway.sock"))
        processes.append(Process(folder / name, "--http", "127.0.0.1:0", *shared))
    try:
        healths = [await process.ready() for process in processes]
        yield processes, [str(health["http"][0]) for health in healths]  # type: ignore[index]
    finally:
        for process in processes:
            process.admin.close()
            process.process.kill()
            process.process.wait()
            if process.process.stderr is not None:
                process.process.stderr.close()


@pytest.mark.parametrize("limit", [1, 3])
async def test_two_gateways_keep_the_limit_of_a_replica_and_both_get_on(
    pair: tuple[list[Process], list[str]], serve: Serve, limit: int
) -> None:
    processes, addresses = pair
    under_way = most = 0

    def app(exchange: Exchange) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)

        def answer() -> None:
            nonlocal under_way
            under_way -= 1
            exchange.reply(200)

        asyncio.get_running_loop().call_later(0.002, answer)

    table = msgspec.json.encode(RouteTable(1, (iris(await serve(app), concurrency=limit),)))
    async with AsyncExitStack() as stack:
        clients = []
        for process, address in zip(processes, addresses, strict=True):
            assert (await process.admin.fetch("PUT", "/routes", body=table)).status == 200
            clients.append(Upstream(Address.parse(address)))
            stack.callback(clients[-1].close)
        order: list[int] = []

        async def ask(number: int) -> int:
            answer = await clients[number % 2].fetch("POST", "/x", [(b"host", HOST.encode())], b"{}", timeout=20)
            order.append(number % 2)
            return answer.status

        assert set(await asyncio.gather(*(ask(number) for number in range(80)))) == {200}
    assert most == limit
    halves = order[: len(order) // 2]
    assert 5 <= sum(halves) <= 35, "neither starves the other"


async def test_what_a_killed_gateway_held_is_free_again(pair: tuple[list[Process], list[str]], serve: Serve) -> None:
    processes, addresses = pair
    held: list[Exchange] = []
    table = msgspec.json.encode(RouteTable(1, (iris(await serve(held.append), concurrency=1),)))
    for process in processes:
        assert (await process.admin.fetch("PUT", "/routes", body=table)).status == 200
    one, two = (Upstream(Address.parse(address)) for address in addresses)
    first = asyncio.create_task(one.fetch("POST", "/x", [(b"host", HOST.encode())], b"{}", timeout=20))
    await until(lambda: len(held) == 1)
    second = asyncio.create_task(two.fetch("POST", "/x", [(b"host", HOST.encode())], b"{}", timeout=20))
    processes[0].process.kill()
    await until(lambda: len(held) == 2, 10.0)
    held[1].reply(200)
    assert (await second).status == 200
    with pytest.raises(Error):
        await first
    one.close()
    two.close()
