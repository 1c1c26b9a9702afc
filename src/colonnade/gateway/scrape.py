"""The public `/metrics` of gateways that share their ports: a scrape reaches any one of them and means all.

The one that is asked asks the others over their admin sockets and sums the numbers. Gauges are sums, too, but for those
in `HIGHEST`: each process has an opinion of its own on the same breaker and replicas, so the most alarming one is told,
not a sum that is no state and counts a replica twice. One that does not answer is left out, and
`colonnade_gateway_processes` says how many were counted. Each admin socket tells the numbers of its process alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from colonnade.errors import Error
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.net import Address, Exchange, Upstream
from colonnade.net.background import Background
from colonnade.observe.metrics import CONTENT_TYPE, summed

log = logging.getLogger(__name__)

TIMEOUT = 1.0  # seconds that the others get
HIGHEST = ("colonnade_gateway_breaker_state", "colonnade_gateway_ejected_replicas")


class Scrape:
    """Answers scrapes for one gateway and its siblings, given by their admin sockets."""

    def __init__(self, metrics: GatewayMetrics, siblings: Sequence[str]) -> None:
        self._metrics = metrics
        self._siblings = [Upstream(Address(path=path)) for path in siblings]
        self._tasks = Background()

    def answer(self, exchange: Exchange) -> None:
        """Answer one scrape, at once if there are no others."""
        if not self._siblings:
            exchange.reply(200, self._metrics.render(), CONTENT_TYPE.encode())
            return
        self._tasks.start(self._ask(exchange))

    def close(self) -> None:
        """Close the connections to the others."""
        for task in self._tasks:
            task.cancel()
        for sibling in self._siblings:
            sibling.close()

    async def _ask(self, exchange: Exchange) -> None:
        texts = await asyncio.gather(*(self._fetch(sibling) for sibling in self._siblings))
        if not exchange.closed:
            whole = joined([self._metrics.render(), *(text for text in texts if text is not None)])
            exchange.reply(200, whole, CONTENT_TYPE.encode())

    async def _fetch(self, sibling: Upstream) -> bytes | None:
        try:
            answer = await sibling.fetch("GET", "/metrics", timeout=TIMEOUT)
        except Error as error:
            log.warning("a gateway beside this one does not tell its numbers", extra={"error": error.message})
            return None
        return answer.body if answer.status == 200 else None


def joined(texts: Sequence[bytes]) -> bytes:
    """The numbers of several gateways as one: each the sum of theirs, or the highest of them if it is of `HIGHEST`."""
    highest: dict[str, float] = {}
    for text in texts:
        for line in text.decode().splitlines():
            if line.startswith(HIGHEST):
                series, _, value = line.rpartition(" ")
                highest[series] = max(highest.get(series, 0.0), float(value))
    lines: list[str] = []
    for line in summed(texts).decode().splitlines():
        series = line.rpartition(" ")[0]
        lines.append(f"{series} {highest[series]:g}\n" if series in highest else f"{line}\n")
    return "".join(lines).encode()
