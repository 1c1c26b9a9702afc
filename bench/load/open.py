"""Open loop: requests leave on time whatever happens to those before. It shows what a server does when too much comes.

    python -m bench.load.open --port 8080 --body FILE --path P --rate 900 --seconds 30 --after 5

Each request goes out on a connection that has none in flight. A first phase of `--seconds` at `--rate`, then `--after`
seconds at `--after-rate`. Prints one line of JSON with what became of both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.load.outcomes import Outcome, summary

TICK = 0.001
DRAIN = 10.0  # seconds that the last answers get


class Client(asyncio.Protocol):
    """A connection with at most one request in flight."""

    def __init__(self, idle: list[Client], outcomes: list[Outcome], open_clients: set[Client]) -> None:
        self._idle = idle
        self._outcomes = outcomes
        self._open = open_clients
        self._head = b""
        self._missing = -1  # bytes of the answer's body that are still to come; -1: its head is
        self._status = 0
        self.sent_at: float | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._open.add(self)

    def send(self, message: bytes, now: float) -> None:
        self.sent_at = now
        self.transport.write(message)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            head, separator, body = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head = b""
            self._status = int(head[9:12])
            self._missing = _length(head)
        else:
            body = data
        self._missing -= len(body)
        if self._missing > 0:
            return
        self._missing = -1
        self._ended(self._status)
        self._idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._open.discard(self)
        if self in self._idle:
            self._idle.remove(self)
        if self.sent_at is not None:
            self._ended(0)

    def _ended(self, status: int) -> None:
        sent, self.sent_at = self.sent_at, None
        assert sent is not None
        self._outcomes.append(Outcome(sent, time.perf_counter() - sent, status))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without a length: {head!r}")


async def main(given: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    idle: list[Client] = []
    open_clients: set[Client] = set()
    outcomes: list[Outcome] = []
    body = Path(given.body).read_bytes()
    fields = "".join(f"{field}\r\n" for field in given.header)
    head = f"POST {given.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}content-length: {len(body)}\r\n\r\n"
    message = head.encode() + body

    async def connect() -> None:
        _, client = await loop.create_connection(lambda: Client(idle, outcomes, open_clients), "127.0.0.1", given.port)
        idle.append(client)

    await asyncio.gather(*(connect() for _ in range(given.connections)))
    phases = [(given.rate, given.seconds), (given.after_rate, given.after)]
    unsent = 0
    starts: list[float] = []
    for rate, seconds in phases:
        start = time.perf_counter()
        starts.append(start)
        due = 0
        while (now := time.perf_counter()) - start < seconds:
            for _ in range(int((now - start) * rate) - due):
                due += 1
                if idle:
                    idle.pop().send(message, now)
                else:
                    unsent += 1
            await asyncio.sleep(TICK)
    end = time.perf_counter()
    while time.perf_counter() - end < DRAIN and any(client.sent_at is not None for client in open_clients):
        await asyncio.sleep(TICK)
    for client in open_clients:
        if client.sent_at is not None:
            outcomes.append(Outcome(client.sent_at, time.perf_counter() - client.sent_at, 0))
            client.sent_at = None
    return summary(outcomes, starts[0], starts[1], end, unsent, given.late)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", required=True)
    parser.add_argument("--header", action="append", default=[], help='"Name: value"; may be repeated')
    parser.add_argument("--rate", type=float, required=True, help="requests per second in the first phase")
    parser.add_argument("--seconds", type=float, required=True, help="of the first phase")
    parser.add_argument("--after-rate", type=float, required=True, help="requests per second in the second phase")
    parser.add_argument("--after", type=float, required=True, help="seconds of the second phase")
    parser.add_argument("--late", type=float, required=True, help="seconds from which an answer is late")
    parser.add_argument("--connections", type=int, default=1000)
    print(json.dumps(uvloop.run(main(parser.parse_args()))))
