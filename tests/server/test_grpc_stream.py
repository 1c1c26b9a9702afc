"""`ModelStreamInfer`: a stream of requests and their answers in order, by clients that others wrote."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc import aio

from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb

from .replica import DEADLINE, Replica, Start, until
from .talker import CODE, LIVE

LIMIT = 1 << 16
METHOD = f"/{codec.SERVICE}/ModelStreamInfer"


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", "--max-message", str(LIMIT), code=CODE, tcp=True).ready()


def request(*numbers: float, model: str = "m", identity: str = "") -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, id=identity)
    entry = message.inputs.add(name="x", datatype="FP32", shape=[1, len(numbers)])
    entry.contents.fp32_contents.extend(numbers)
    return message


def numbers(message: pb.ModelStreamInferResponse) -> list[float]:
    assert not message.error_message
    contents = message.infer_response.outputs[0].contents
    return [*contents.fp32_contents, *contents.fp64_contents]


class Stream:
    """A call of `ModelStreamInfer` by grpcio."""

    def __init__(self, channel: aio.Channel, timeout: float | None = DEADLINE) -> None:
        self.call = channel.stream_stream(
            METHOD,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )(timeout=timeout)

    async def ask(self, *numbers: float, **fields: str) -> None:
        await self.call.write(request(*numbers, **fields))

    async def answer(self) -> pb.ModelStreamInferResponse:
        message = await self.call.read()
        assert message is not aio.EOF
        return message

    async def status(self) -> tuple[grpc.StatusCode, str]:
        return await self.call.code(), await self.call.details()


@pytest.fixture
async def channel(replica: Replica):
    async with aio.insecure_channel(replica.grpc) as channel:
        yield channel


def test_tritonclient(replica: Replica) -> None:
    program = Path(__file__).with_name("triton_stream.py")
    ended = subprocess.run(
        [sys.executable, str(program), replica.grpc], capture_output=True, text=True, timeout=2 * DEADLINE
    )
    assert ended.returncode == 0, ended.stderr


async def test_answers_keep_their_order_and_a_slow_one_holds_back_those_behind(
    replica: Replica, channel: aio.Channel
) -> None:
    stream = Stream(channel)
    await stream.ask(1000, identity="slow")
    for i in range(200):
        await stream.ask(i + 1, identity=str(i))
    read = asyncio.ensure_future(stream.answer())
    await asyncio.wait([read], timeout=0.1)
    assert not read.done()
    assert replica.metric(LIVE) <= 64, "no more are taken at a time"
    (replica.folder / "gate").touch()
    assert (await read).infer_response.id == "slow"
    for i in range(200):
        message = await stream.answer()
        assert (message.infer_response.id, numbers(message)) == (str(i), [2 * i + 2])
    await stream.call.done_writing()
    assert await stream.call.read() is aio.EOF
    assert (await stream.status())[0] is grpc.StatusCode.OK
    assert replica.metric(LIVE) == 0


async def test_a_request_that_fails_says_so_and_the_stream_lives_on(channel: aio.Channel, replica: Replica) -> None:
    stream = Stream(channel)
    for sent, said in (
        (request(-1, identity="a"), "less than nothing"),
        (request(1, model="zz", identity="b"), "zz"),
        (pb.ModelInferRequest(model_name="m", id="c"), "input"),
        (pb.ModelInferRequest(model_name="m", model_version="7", id="d"), "no version 7"),
        (request(0, 1, -2, identity="e"), "no words left"),
    ):
        await stream.call.write(sent)
        await stream.ask(1)
        message = await stream.answer()
        if sent.id == "e":
            assert numbers(message) == [1]
            message = await stream.answer()
        assert said in message.error_message
        assert message.infer_response.id == sent.id
        assert numbers(await stream.answer()) == [2]
    stream.call.cancel()
    assert replica.metric('request_total{model_name="m",protocol="grpc",code="INVALID_ARGUMENT"}') >= 1


async def test_bytes_that_are_no_message_end_the_stream(channel: aio.Channel) -> None:
    call = channel.stream_stream(METHOD)(timeout=DEADLINE)
    await call.write(request(0, -1).SerializeToString())
    assert await call.read()
    await call.write(b"\xff\xff")
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_over_the_limit(channel: aio.Channel) -> None:
    stream = Stream(channel)
    await stream.ask(*[1.0] * (LIMIT // 4 - 100))
    message = await stream.answer()
    assert "over the limit" in message.error_message or numbers(message)[0] == 2
    await stream.ask(*[1.0] * (LIMIT // 4 + 1))
    assert (await stream.status())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_caller_that_leaves_ends_the_model_s_work(channel: aio.Channel, replica: Replica) -> None:
    ended = replica.folder / "ended"
    before = len(ended.read_text()) if ended.exists() else 0
    stream = Stream(channel)
    await stream.ask(0, -1)
    await stream.answer()
    assert replica.metric(LIVE) == 1
    stream.call.cancel()
    await asyncio.to_thread(until, lambda: ended.exists() and len(ended.read_text()) > before, "the end of the parts")
    await asyncio.to_thread(until, lambda: replica.metric(LIVE) == 0, "an empty replica")


async def test_deadlines_of_the_stream_and_of_one_request(channel: aio.Channel, replica: Replica) -> None:
    stream = Stream(channel)
    late = request(0, -1, identity="late")
    late.parameters["timeout"].int64_param = 100_000  # microseconds
    await stream.call.write(late)
    await stream.ask(3)
    while not (message := await stream.answer()).error_message:
        assert numbers(message) == [-1]
    assert "deadline" in message.error_message
    assert numbers(await stream.answer()) == [6]
    stream.call.cancel()
    stream = Stream(channel, timeout=0.2)
    await stream.ask(0, -1)
    assert (await stream.status())[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.to_thread(until, lambda: replica.metric(LIVE) == 0, "an empty replica")


async def test_an_answer_in_parts_needs_a_stream(channel: aio.Channel) -> None:
    infer = channel.unary_unary(
        f"/{codec.SERVICE}/ModelInfer", request_serializer=pb.ModelInferRequest.SerializeToString
    )
    with pytest.raises(aio.AioRpcError) as refused:
        await infer(request(0, 1), timeout=DEADLINE)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ModelStreamInfer" in refused.value.details()


async def test_a_stop_answers_what_was_asked_and_ends_the_streams(start: Start) -> None:
    replica = start("--model-name", "m", code=CODE).ready()
    async with aio.insecure_channel(replica.grpc) as channel:
        idle, busy = Stream(channel), Stream(channel)
        await idle.ask(1)
        await idle.answer()
        await busy.ask(1000)
        await asyncio.to_thread(until, lambda: replica.metric(LIVE) == 1, "the request")
        replica.signal(signal.SIGTERM)
        assert (await idle.status())[0] is grpc.StatusCode.UNAVAILABLE
        (replica.folder / "gate").touch()
        assert numbers(await busy.answer()) == [2000]
        assert (await busy.status())[0] is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.to_thread(replica.wait) == 0
