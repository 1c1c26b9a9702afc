"""Services and graphs for the tests of graphs in a gateway."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from colonnade.gateway.routes import Backend, Route, Target
from colonnade.graph.plan import Node, Plan, Step
from colonnade.net import App, Exchange

from .conftest import MUX

GRAPH = "flow-default.example.com"
BODY = b'{"instances":[1]}'


def service(name: str, *addresses: str, **changes: Any) -> Route:
    backends = tuple(
        Backend(f"{name}-{at}", address, mux=address.endswith(MUX)) for at, address in enumerate(addresses)
    )
    hosts = (f"{name}-default.example.com",)
    route = Route("default", name, name, hosts, (Target(f"{name}-1", backends=backends),), ready=True)
    return msgspec.structs.replace(route, **changes)


def graph(plan: Plan, name: str = "flow", **changes: Any) -> Route:
    route = Route("default", name, "", (f"{name}-default.example.com",), ready=True, component="graph", graph=plan)
    return msgspec.structs.replace(route, **changes)


def ask(service: str, **changes: Any) -> Step:
    return Step(service=service, path=f"/v1/models/{service}:predict", **changes)


def sequence(*steps: Step, **changes: Any) -> Plan:
    return Plan({"root": Node("Sequence", steps)}, **changes)


def ensemble(*steps: Step, **changes: Any) -> Plan:
    return Plan({"root": Node("Ensemble", steps)}, **changes)


def saying(name: str, status: int = 200, **fields: str) -> App:
    """Answers with what it was asked."""

    def app(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            asked = {
                "by": name,
                "target": exchange.target.decode(),
                "headers": {key.decode(): value.decode() for key, value in exchange.headers.items()},
                "body": body.decode("latin-1"),
            }
            own = [(key.replace("_", "-").encode(), value.encode()) for key, value in fields.items()]
            exchange.reply(status, json.dumps(asked).encode(), headers=own)

        exchange.collect(done)

    return app


class Silent:
    """A service that answers when told, and knows who has left it."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.left = 0

    def __call__(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        exchange.on_disconnect(self._leave)

    def _leave(self) -> None:
        self.left += 1
