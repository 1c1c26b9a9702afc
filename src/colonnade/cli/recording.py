"""Records the load of a running service, second by second, from what the gateway tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from colonnade.cli.exits import Unreachable
from colonnade.control.layout import Layout
from colonnade.control.scaling.autoscaler import Sample
from colonnade.defaults import MAX_GATEWAY_WORKERS

HEADINGS = "time,concurrency,rps"
_LINE = msgspec.json.Decoder(Sample)


class Part(NamedTuple):
    """The part of a service whose load is recorded."""

    namespace: str
    service: str
    component: str


class _Sums:
    """What was told since the last row, over all processes and revisions."""

    def __init__(self) -> None:
        self.area = 0.0
        self.requests = 0.0

    def add(self, sample: Sample) -> None:
        self.area += sample.concurrency * sample.seconds
        self.requests += sample.requests

    def row(self, second: int, seconds: float) -> str:
        area, self.area, requests, self.requests = self.area, 0.0, self.requests, 0.0
        return f"{second},{area / seconds:.6g},{requests / seconds:.6g}"


def sockets(state_dir: Path) -> list[Path]:
    """The admin sockets of the gateway's processes.

    Raises:
        Unreachable: there is none.
    """
    layout = Layout(state_dir)
    found = [layout.gateway_admin(number) for number in range(MAX_GATEWAY_WORKERS) if layout.gateway(number).exists()]
    if not found:
        raise Unreachable(f"no platform runs on {state_dir}: start one with `colonnade up`")
    return found


async def record(admin: Sequence[Path], part: Part, seconds: int | None, write: Callable[[str], None]) -> None:
    """Write a row of a trace each second, for so many seconds or until cancelled.

    Raises:
        Unreachable: a process of the gateway cannot be asked, or ends.
    """
    sums = _Sums()
    readers = [asyncio.create_task(_listen(path, part, sums)) for path in admin]
    try:
        write(HEADINGS)
        await _rows(sums, readers, seconds, write)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _rows(
    sums: _Sums, readers: Sequence[asyncio.Task[None]], seconds: int | None, write: Callable[[str], None]
) -> None:
    clock = asyncio.get_running_loop().time
    began = last = clock()
    second = 0
    while seconds is None or second < seconds:
        ended, _ = await asyncio.wait(readers, timeout=max(0.0, began + second + 1 - clock()))
        for reader in ended:
            reader.result()
        now = clock()
        write(sums.row(second, now - last))
        last, second = now, second + 1


async def _listen(path: Path, part: Part, sums: _Sums) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    try:
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=10.0) as client,
            client.stream("GET", "/stats") as answer,
        ):
            async for line in answer.aiter_lines():
                told = None if line == "{}" else _LINE.decode(line)
                if told is not None and (told.namespace, told.service, told.component) == part:
                    sums.add(told)
    except httpx.HTTPError as error:
        raise Unreachable(f"the gateway cannot be asked: {type(error).__name__}") from None
    raise Unreachable("the gateway has ended")
