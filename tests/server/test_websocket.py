"""V2 over a WebSocket at a replica, by a client of another project (`websockets`)."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .replica import DEADLINE, Replica, Start, until
from .talker import CODE, LIVE

PATH = "/v2/models/m/infer"


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", "--max-body", "100000", code=CODE, tcp=True).ready()


def request(*numbers: float, **fields: Any) -> str:
    tensor = {"name": "x", "shape": [1, len(numbers)], "datatype": "FP32", "data": numbers}
    return json.dumps({"inputs": [tensor], **fields})


async def answer(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        message = await socket.recv()
    assert isinstance(message, str)
    return json.loads(message)


def opened(replica: Replica, path: str = PATH, **options: Any) -> connect:
    return connect(f"ws://{replica.authority}{path}", proxy=None, **options)


@pytest.fixture
async def socket(replica: Replica) -> AsyncIterator[ClientConnection]:
    async with opened(replica) as socket:
        yield socket


@pytest.mark.parametrize("path", [PATH, "/v2/models/m/versions/1/infer"])
async def test_each_message_is_answered_in_order(replica: Replica, path: str) -> None:
    before = replica.metric('request_total{model_name="m",protocol="websocket",code="200"}')
    async with opened(replica, path) as socket:
        for i in range(300):
            await socket.send(request(i + 1, id=str(i)))
        for i in range(300):
            got = await answer(socket)
            assert (got["id"], got["outputs"][0]["data"]) == (str(i), [2 * i + 2])
            assert got["model_name"] == "m"
        assert "parameters" not in got
        await socket.ping()
    assert socket.close_code == 1000
    assert replica.metric('request_total{model_name="m",protocol="websocket",code="200"}') == before + 300


async def test_what_is_wrong_with_a_request_is_its_answer(socket: ClientConnection) -> None:
    await socket.send("{")
    assert "JSON" in (await answer(socket))["error"]
    await socket.send(request(-1, id="a"))
    assert await answer(socket) == {"error": "less than nothing", "id": "a"}
    binary = [{"name": "output-0", "parameters": {"binary_data": True}}]
    await socket.send(request(1, id="b", outputs=binary))
    assert "no binary tensors" in (await answer(socket))["error"]
    await socket.send(request(1, id="ü", parameters={"timeout": "soon"}))
    assert "timeout" in (await answer(socket))["error"]
    await socket.send(request(4, id="d"))
    assert (await answer(socket))["outputs"][0]["data"] == [8]


async def test_an_answer_in_parts(socket: ClientConnection) -> None:
    await socket.send(request(0, 5, 6, id="t"))
    await socket.send(request(1, id="behind"))
    for number in (5, 6):
        got = await answer(socket)
        assert (got["id"], got["parameters"]) == ("t", {"triton_final_response": False})
        assert got["outputs"][0]["data"] == [number]
    end = await answer(socket)
    assert (end["id"], end["outputs"], end["parameters"]) == ("t", [], {"triton_final_response": True})
    assert (await answer(socket))["id"] == "behind"
    await socket.send(request(0, 5, -2, id="f"))
    assert (await answer(socket))["outputs"][0]["data"] == [5]
    assert await answer(socket) == {"error": "no words left", "id": "f"}


async def test_a_client_that_leaves_ends_the_model_s_work(replica: Replica) -> None:
    async with opened(replica) as socket:
        await socket.send(request(0, -1))
        await answer(socket)
        assert replica.metric(LIVE) == 1
    await asyncio.to_thread(until, lambda: replica.metric(LIVE) == 0, "an empty replica")
    async with opened(replica) as socket:
        await socket.send(request(0, -1))
        await answer(socket)
        socket.transport.abort()
    await asyncio.to_thread(until, lambda: replica.metric(LIVE) == 0, "an empty replica")


@pytest.mark.parametrize(
    ("message", "code"), [("x" * 100_001, 1009), (b"{}", 1003), (["x" * 60_000, "x" * 60_000], 1009)]
)
async def test_messages_that_are_not_taken(socket: ClientConnection, message: Any, code: int) -> None:
    await socket.send(message)
    with pytest.raises(ConnectionClosed) as closed:
        await answer(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


@pytest.mark.parametrize(
    ("path", "options", "status", "said"),
    [
        ("/v2/models/zz/infer", {}, 404, "zz"),
        ("/v2/models/m/versions/7/infer", {}, 404, "no version 7"),
        ("/v2/models/m", {}, 200, '"inputs"'),
        (PATH, {"origin": "https://elsewhere.example"}, 403, "elsewhere.example"),
    ],
)
async def test_handshakes_that_are_not_taken(
    replica: Replica, path: str, options: dict[str, Any], status: int, said: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await opened(replica, path, **options)
    assert refused.value.response.status_code == status
    assert said in bytes(refused.value.response.body).decode()


async def test_a_page_of_the_same_host(replica: Replica) -> None:
    async with opened(replica, origin=f"http://{replica.authority}") as socket:
        await socket.send(request(1))
        assert (await answer(socket))["outputs"]


def test_without_an_upgrade_it_is_a_wrong_method(replica: Replica) -> None:
    assert replica.http.get(PATH).status_code == 405
    fields = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    assert "Sec-WebSocket-Key" in replica.http.get(PATH, headers=fields).json()["error"]
    assert replica.http.get(PATH, headers={**fields, "sec-websocket-version": "8"}).status_code == 426


async def test_a_stop_answers_what_was_asked_and_says_that_it_goes_away(start: Start) -> None:
    replica = start("--model-name", "m", code=CODE, tcp=True).ready()
    async with opened(replica) as idle, opened(replica) as busy:
        await busy.send(request(1000))
        await asyncio.to_thread(until, lambda: replica.metric(LIVE) == 1, "the request")
        replica.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await answer(idle)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        (replica.folder / "gate").touch()
        assert (await answer(busy))["outputs"][0]["data"] == [2000]
        with pytest.raises(ConnectionClosed) as closed:
            await answer(busy)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert await asyncio.to_thread(replica.wait) == 0
