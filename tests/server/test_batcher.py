"""Requests that share calls of a model, on a running replica: who gets which rows, whose error it is, who is not in."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.grpc import SERVICE

from .replica import DEADLINE, Replica, Start, until

# Gives its rows back. Notes how many rows each call has, waits while a file `gate` is there, and refuses some rows.
ECHO = """
    import time
    import numpy as np
    from colonnade import InvalidInput, Model

    class Echo(Model):
        max_batch_size = 32

        def predict(self, x: np.ndarray) -> np.ndarray:
            with self.path("rows").open("a") as rows:
                rows.write(f"{len(x)}\\n")
            while self.path("gate").exists():
                time.sleep(0.002)
            time.sleep(0.002)
            if x.dtype.kind == "f" and np.isnan(x).any():
                raise InvalidInput("a row is not a number")
            if x.dtype.kind != "O" and (x == -1).any():
                raise KeyError("secret")
            if len(x) > 1 and x.dtype.kind != "O" and (x == -2).any():
                return x[:1]
            return x

        def explain(self, x: np.ndarray) -> np.ndarray:
            return -x
"""


class Gate:
    """Keeps the calls of an `ECHO` from ending, and knows how many rows each had since it was closed."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._file = replica.folder / "gate"
        self._file.touch()
        self._before = len(self._lines())

    def _lines(self) -> list[str]:
        file: Path = self._replica.folder / "rows"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def rows(self) -> list[int]:
        """Rows of each call since."""
        return [int(line) for line in self._lines()[self._before :]]

    async def waiting(self, count: int) -> None:
        """Waits until so many requests are there, of which one is in a call."""
        sample = 'requests_in_flight{model_name="m"}'
        await asyncio.to_thread(until, lambda: self.rows and self._replica.metric(sample) == count, f"{count} requests")

    def open(self) -> None:
        """Lets the calls end."""
        self._file.unlink()


@pytest.fixture(scope="module")
def echo(start: Start) -> Replica:
    return start("--model-name", "m", code=ECHO).ready()


Ask = Callable[[np.ndarray], Awaitable[tuple[int | str, Any]]]


def _over_v1(client: httpx.AsyncClient) -> Ask:
    async def ask(rows: np.ndarray) -> tuple[int | str, Any]:
        answer = await client.post("/v1/models/m:predict", json={"instances": rows.tolist()})
        return answer.status_code, answer.json().get("predictions")

    return ask


def _over_json(client: httpx.AsyncClient) -> Ask:
    async def ask(rows: np.ndarray) -> tuple[int | str, Any]:
        name = f"id-{rows.ravel()[0]}"
        tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}
        answer = await client.post("/v2/models/m/infer", json={"id": name, "inputs": [tensor]})
        if answer.status_code != 200:
            return answer.status_code, None
        assert answer.json()["id"] == name
        output = answer.json()["outputs"][0]
        return 200, np.array(output["data"]).reshape(output["shape"]).tolist()

    return ask


def _over_binary(client: httpx.AsyncClient) -> Ask:
    async def ask(rows: np.ndarray) -> tuple[int | str, Any]:
        tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP64"}
        tensor["parameters"] = {"binary_data_size": rows.nbytes}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        headers = {"inference-header-content-length": str(len(head))}
        answer = await client.post("/v2/models/m/infer", content=head + rows.tobytes(), headers=headers)
        if answer.status_code != 200:
            return answer.status_code, None
        size = int(answer.headers["inference-header-content-length"])
        return 200, np.frombuffer(answer.content[size:]).reshape(rows.shape).tolist()

    return ask


def _over_grpc(channel: grpc.aio.Channel) -> Ask:
    infer = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )

    async def ask(rows: np.ndarray) -> tuple[int | str, Any]:
        request = pb.ModelInferRequest(model_name="m", id=str(rows.ravel()[0]))
        request.inputs.add(name="x", datatype="FP64", shape=rows.shape)
        request.raw_input_contents.append(rows.tobytes())
        try:
            answer = await infer(request, timeout=DEADLINE)
        except grpc.aio.AioRpcError as error:
            return error.code().name, None
        assert answer.id == request.id
        return 200, np.frombuffer(answer.raw_output_contents[0]).reshape(rows.shape).tolist()

    return ask


async def test_every_client_gets_its_own_rows_on_every_protocol(echo: Replica) -> None:
    numbers = itertools.count(10)
    choice = random.Random(0)
    async with echo.async_client() as client, grpc.aio.insecure_channel(echo.grpc) as channel:
        protocols = [_over_v1(client), _over_json(client), _over_binary(client), _over_grpc(channel)]

        async def talk(ask: Ask) -> int:
            for _ in range(30):
                rows, columns = choice.randint(1, 5), choice.choice([1, 3])
                sent = np.array([float(next(numbers)) + 0.5 for _ in range(rows * columns)]).reshape(rows, columns)
                assert await ask(sent) == (200, sent.tolist())
            return 30

        answered = await asyncio.gather(*[talk(ask) for ask in protocols for _ in range(8)])
    assert sum(answered) == 30 * 32
    calls = echo.metric('request_batch_rows_count{model_name="m"}')
    assert calls < 30 * 32, "some have shared calls"


@pytest.mark.parametrize(("bad", "codes"), [(np.nan, {400, "INVALID_ARGUMENT"}), (-1.0, {500, "INTERNAL"})])
async def test_an_error_is_that_of_its_own_rows(echo: Replica, bad: float, codes: set[int | str]) -> None:
    async with echo.async_client() as client, grpc.aio.insecure_channel(echo.grpc) as channel:
        by = [_over_json(client), _over_binary(client), _over_grpc(channel)]
        gate = Gate(echo)
        first = asyncio.create_task(by[0](np.array([[1.0, 1.0]])))
        await gate.waiting(1)
        good = [asyncio.create_task(by[number % 3](np.array([[number, 2.0]]))) for number in range(2, 11)]
        failing = [asyncio.create_task(ask(np.array([[bad, 2.0]]))) for ask in by[1:]]
        await gate.waiting(12)
        gate.open()
        assert (await first)[0] == 200
        for number, answer in enumerate(await asyncio.gather(*good), 2):
            assert answer == (200, [[number, 2.0]])
        assert {code for code, _ in await asyncio.gather(*failing)} <= codes


async def test_what_waits_is_one_call_and_who_has_left_is_not_in_it(echo: Replica) -> None:
    async with echo.async_client() as client:
        ask = _over_v1(client)
        gate = Gate(echo)
        first = asyncio.create_task(ask(np.array([[0.5]])))
        await gate.waiting(1)
        staying = [asyncio.create_task(ask(np.array([[number + 0.5]]))) for number in range(1, 5)]
        leaving = [_send(echo, {"instances": [[number + 0.5]]}) for number in range(5, 9)]
        await gate.waiting(9)
        for connection in leaving:
            connection.close()
        await gate.waiting(5)
        gate.open()
        for number, answer in enumerate(await asyncio.gather(first, *staying)):
            assert answer == (200, [[number + 0.5]])
        assert sum(gate.rows) == 5


def _send(replica: Replica, payload: dict[str, Any]) -> socket.socket:
    """Sends a prediction and does not read the answer."""
    body = json.dumps(payload).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(replica.socket)
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)
    return connection


async def test_answers_come_in_the_order_of_a_connections_requests(echo: Replica) -> None:
    reader, writer = await asyncio.open_unix_connection(echo.socket)
    bodies = [json.dumps({"instances": [[number]]}).encode() for number in range(500)]
    for body in bodies:
        writer.write(
            b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
    for number in range(500):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.partition(b":")[2]))
        assert json.loads(body) == {"predictions": [[number]]}
    writer.close()


async def test_calls_of_different_kinds_share_none(echo: Replica) -> None:
    async with echo.async_client() as client:
        gate = Gate(echo)
        first = asyncio.create_task(client.post("/v1/models/m:predict", json={"instances": [[1.5]]}))
        await gate.waiting(1)
        payloads: list[Any] = [[[2.5]], [[3]], [[4.5, 5.5]], [["text"]], [[6.5]], [["more"], ["text"]], [[7, 8]]]
        asked = [
            asyncio.create_task(client.post("/v1/models/m:predict", json={"instances": payload}))
            for payload in payloads
        ]
        await gate.waiting(8)
        gate.open()
        assert (await first).json() == {"predictions": [[1.5]]}
        for payload, answer in zip(payloads, await asyncio.gather(*asked), strict=True):
            assert answer.json() == {"predictions": payload}


async def test_explain_is_not_predict(echo: Replica) -> None:
    async with echo.async_client() as client:
        asked = [client.post("/v1/models/m:explain", json={"instances": [[number]]}) for number in range(1, 9)]
        for number, answer in enumerate(await asyncio.gather(*asked), 1):
            assert answer.json() == {"explanations": [[-number]]}


async def test_a_model_that_returns_too_few_rows_is_not_asked_for_several_any_more(start: Start) -> None:
    replica = start("--model-name", "m", code=ECHO).ready()
    async with replica.async_client() as client:
        ask = _over_v1(client)
        for _ in range(20):
            answers = await asyncio.gather(*[ask(np.array([[-2.0]])) for _ in range(8)])
            assert answers == [(200, [[-2.0]])] * 8
    assert replica.logged("the answer has not one row for each row of the input: requests are not joined any more")


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (("--max-batch-size", "1"), {1}),
        (("--max-batch-size", "4"), {1, 2, 3, 4}),
        (("--max-batch-size", "8", "--preferred-batch-sizes", "2,4"), {1, 2, 3, 4}),
    ],
)
async def test_sizes_are_what_the_operator_says(start: Start, flags: tuple[str, ...], allowed: set[int]) -> None:
    replica = start("--model-name", "m", *flags, code=ECHO).ready()
    async with replica.async_client() as client:
        ask = _over_v1(client)
        for _ in range(10):
            sent = [np.array([[number + 0.5]]) for number in range(24)]
            answers = await asyncio.gather(*[ask(rows) for rows in sent])
            assert answers == [(200, rows.tolist()) for rows in sent]
    rows = {int(line) for line in (replica.folder / "rows").read_text().split()}
    assert rows <= allowed
    assert max(rows) == max(allowed)


PADDED = """
    import numpy as np
    from colonnade import Model

    class Padded(Model):
        max_batch_size = 16
        preferred_batch_sizes = (4, 8, 16)
        pad_batches = True

        def predict(self, x: np.ndarray) -> np.ndarray:
            with self.path("rows").open("a") as rows:
                rows.write(f"{len(x)}\\n")
            return x + 1
"""


async def test_rows_are_added_only_where_the_model_declares_it(start: Start) -> None:
    replica = start("--model-name", "m", code=PADDED).ready()
    async with replica.async_client() as client:
        ask = _over_v1(client)
        for _ in range(10):
            answers = await asyncio.gather(*[ask(np.array([[number]])) for number in range(20)])
            assert answers == [(200, [[number + 1]]) for number in range(20)]
    rows = {int(line) for line in (replica.folder / "rows").read_text().split()}
    assert rows <= {1, 4, 8, 16}, "a lone request is not padded, a shared call is"
    assert rows & {4, 8, 16}


async def test_rows_wait_for_others_only_under_load(start: Start) -> None:
    replica = start("--model-name", "m", "--max-batch-latency", "60000", code=ECHO).ready()
    async with replica.async_client() as client:
        for number in range(5):  # one at a time: none waits a minute
            answer = await client.post("/v1/models/m:predict", json={"instances": [[number]]})
            assert answer.json() == {"predictions": [[number]]}


async def test_a_reload_and_a_stop_lose_no_answer(start: Start) -> None:
    replica = start("--model-name", "m", code=ECHO).ready()
    async with replica.async_client() as client:
        ask = _over_v1(client)
        stopping = asyncio.Event()

        async def talk(first: int) -> int:
            count = 0
            while not stopping.is_set():
                sent = np.array([[first + count + 0.5]])
                assert await ask(sent) == (200, sent.tolist())
                count += 1
            return count

        talking = [asyncio.create_task(talk(1000 * number)) for number in range(16)]
        for _ in range(3):
            assert (await client.post("/v2/repository/models/m/load")).status_code == 200
        stopping.set()
        assert all(await asyncio.gather(*talking))
        gate = Gate(replica)
        asked = [asyncio.create_task(ask(np.array([[number + 0.5]]))) for number in range(9)]
        await gate.waiting(9)
        replica.signal(signal.SIGTERM)
        await asyncio.to_thread(until, lambda: replica.logged("stopping"), "the stop")
        gate.open()
        assert await asyncio.gather(*asked) == [(200, [[number + 0.5]]) for number in range(9)]
    assert replica.wait() == 0
