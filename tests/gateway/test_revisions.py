"""Several revisions behind one route: who gets what, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import msgspec
import pytest
from grpc import aio

from colonnade.gateway.guard import Policy
from colonnade.gateway.routes import Backend, Target
from colonnade.net import App, Exchange

from .conftest import HOST, MUX, Running, Serve, Start, iris, until

PREDICT = "/v1/models/iris:predict"


def named(name: str, status: int = 200) -> App:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(status, name.encode()))

    return app


def target(revision: str, weight: int, *addresses: str, hosts: tuple[str, ...] = ()) -> Target:
    backends = tuple(
        Backend(f"{revision}-{index}", address, mux=address.endswith(MUX)) for index, address in enumerate(addresses)
    )
    return Target(revision, weight, backends, hosts)


async def asked(running: Running, times: int, host: str = HOST, **headers: str) -> Counter[str]:
    answers = [await running.fetch("POST", PREDICT, b"{}", host=host, **headers) for _ in range(times)]
    return Counter(answer.body.decode() for answer in answers)


async def test_the_split_is_exact(running: Running, serve: Serve) -> None:
    stable, canary = await serve(named("stable")), await serve(named("canary"))
    running.route(iris(targets=(target("one", 90, stable), target("two", 10, canary))))
    assert await asked(running, 100) == {"stable": 90, "canary": 10}
    running.route(iris(targets=(target("one", 50, stable), target("two", 50, canary))))
    assert await asked(running, 100) == {"stable": 50, "canary": 50}
    running.route(iris(targets=(target("one", 0, stable), target("two", 100, canary))))
    assert await asked(running, 20) == {"canary": 20}
    numbers = await running.metrics()
    labels = 'namespace="default",service="iris",component="predictor",revision="two",protocol="http",code="2xx"'
    assert numbers[f"colonnade_gateway_requests_total{{{labels}}}"] == 80


async def test_the_host_of_a_tag_means_its_revision_whatever_the_weights(running: Running, serve: Serve) -> None:
    stable, canary = await serve(named("stable")), await serve(named("canary"))
    running.route(
        iris(
            targets=(
                target("one", 100, stable, hosts=("prev-iris.example.com",)),
                target("two", 0, canary, hosts=("latest-iris.example.com",)),
            )
        )
    )
    assert await asked(running, 10) == {"stable": 10}
    assert await asked(running, 10, "latest-iris.example.com") == {"canary": 10}
    assert await asked(running, 10, "PREV-iris.example.com:80") == {"stable": 10}


@pytest.mark.parametrize("weights", [(50, 50), (90, 10)])
async def test_the_share_of_a_revision_without_replicas_goes_to_the_others(
    running: Running, serve: Serve, weights: tuple[int, int]
) -> None:
    targets = target("one", weights[0], await serve(named("stable"))), target("two", weights[1])
    running.route(iris(targets=targets))
    assert await asked(running, 20) == {"stable": 20}


async def test_the_share_of_a_revision_that_nothing_answers_for_goes_to_the_others(
    running: Running, serve: Serve
) -> None:
    """Its breaker is its own: it costs the stable revision nothing."""
    targets = target("one", 50, await serve(named("stable"))), target("two", 50, "unix:/nowhere/s")
    running.route(iris(targets=targets, policy=Policy(breaker_after=3)))
    statuses = Counter([(await running.fetch("POST", PREDICT, b"{}")).status for _ in range(40)])
    assert statuses == {200: 37, 503: 3}


async def test_callers_with_a_value_stay_with_their_revision(running: Running, serve: Serve) -> None:
    stable, canary = await serve(named("stable")), await serve(named("canary"))
    targets = target("one", 50, stable), target("two", 50, canary)
    running.route(iris(targets=targets, sticky="header:X-User"))
    found = {}
    for user in "abcdefghijklmnop":
        got = await asked(running, 4, x_user=user)
        assert len(got) == 1, user
        (found[user],) = got
    assert set(found.values()) == {"stable", "canary"}
    assert await asked(running, 10) == {"stable": 5, "canary": 5}, "without a value the split decides"
    running.route(iris(targets=(target("one", 100, stable), target("two", 0, canary)), sticky="header:X-User"))
    for user in found:
        assert await asked(running, 1, x_user=user) == {"stable": 1}


async def test_a_caller_without_the_cookie_gets_one_that_brings_it_back(running: Running, serve: Serve) -> None:
    targets = target("one", 50, await serve(named("stable"))), target("two", 50, await serve(named("canary")))
    running.route(iris(targets=targets, sticky="cookie:visit"))
    seen = Counter[bytes]()
    for _ in range(20):
        first = await running.fetch("POST", PREDICT, b"{}")
        cookies = [value for name, value in first.headers if name == b"set-cookie"]
        assert len(cookies) == 1
        cookie = cookies[0].partition(b";")[0].decode()
        assert cookie.startswith("visit=")
        for _ in range(3):
            again = await running.fetch("POST", PREDICT, b"{}", cookie=f"other=1; {cookie}")
            assert again.body == first.body
            assert b"set-cookie" not in dict(again.headers)
        seen[first.body] += 1
    assert set(seen) == {b"stable", b"canary"}


async def test_a_cookie_is_set_on_a_streamed_answer_too(running: Running, serve: Serve) -> None:
    def stream(exchange: Exchange) -> None:
        exchange.start(200)
        exchange.write(b"x")
        exchange.finish()

    address = await serve(stream)
    running.route(iris(targets=(target("one", 1, address), target("two", 1, address)), sticky="cookie:visit"))
    assert b"visit=" in dict((await running.fetch("GET", "/x")).headers)[b"set-cookie"]


async def test_a_request_whose_revision_went_while_its_body_came_goes_to_another(
    running: Running, serve: Serve
) -> None:
    stable, canary = await serve(named("stable")), await serve(named("canary"))
    running.route(iris(targets=(target("one", 100, stable),)))
    reader, writer = await running.connect()
    writer.write(f"POST {PREDICT} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 4\r\n\r\n".encode() + b"ab")
    old = running.revision
    await until(lambda: old.guard.in_flight == 1)
    running.route(iris(targets=(target("two", 100, canary),)))
    writer.write(b"cd")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(6) == b"canary"
    assert old.guard.in_flight == running.revision.guard.in_flight == 0
    writer.close()


async def test_revisions_share_the_places_of_their_service(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []
    targets = target("one", 50, await serve(held.append)), target("two", 50, await serve(held.append))
    running.route(iris(targets=targets))
    waiting = [asyncio.create_task(running.fetch("POST", PREDICT, b"{}")) for _ in range(10)]
    await until(lambda: len(held) == 10)
    one, two = running.gateway.fleet.services[0].revisions.values()
    assert (one.guard.in_flight, two.guard.in_flight) == (5, 5)
    assert one.guard._share is two.guard._share
    assert one.guard._share.held == 10
    for exchange in held:
        exchange.reply(200)
    await asyncio.gather(*waiting)
    assert one.guard._share.held == one.guard._share.shares.taken == 0


async def test_grpc_is_split_likewise(start: Start, serve: Serve) -> None:
    running = await start(grpc=True, grace=0.3)

    def method(name: bytes) -> App:
        def app(exchange: Exchange) -> None:
            exchange.collect(
                lambda body: exchange.reply(
                    200,
                    b"\0" + len(name).to_bytes(4) + name,
                    b"application/grpc",
                    trailers=[(b"grpc-status", b"0")],
                )
            )

        return app

    targets = target("one", 75, await serve(method(b"stable"))), target("two", 25, await serve(method(b"canary")))
    if not targets[0].backends[0].mux:
        pytest.skip("HTTP/1.1 upstreams speak no gRPC")
    running.route(iris(targets=targets))
    options = [("grpc.default_authority", HOST)]
    async with aio.insecure_channel(running.gateway.grpc_address or "", options=options) as channel:
        call = channel.unary_unary("/any.Service/Method")
        got = Counter([await call(b"") for _ in range(40)])
    assert got == {b"stable": 30, b"canary": 10}
    options = [("grpc.default_authority", "tag.example.com")]
    tagged = msgspec.structs.replace(targets[1], hosts=("tag.example.com",))
    running.route(iris(targets=(targets[0], tagged)))
    async with aio.insecure_channel(running.gateway.grpc_address or "", options=options) as channel:
        assert {await channel.unary_unary("/any.Service/Method")(b"") for _ in range(8)} == {b"canary"}
    with pytest.raises(grpc.RpcError):
        async with aio.insecure_channel(running.gateway.grpc_address or "") as channel:
            await channel.unary_unary("/any.Service/Method")(b"")
