"""The limit of HTTP: uvloop, a protocol, a C parser, typed JSON, the model.

`--batch N` runs what arrived in the same turn of the event loop as one call of at most N rows. A large JSON body goes
through simdjson, whose buffer becomes the array; a binary one becomes the array as it is.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import httptools
import msgspec
import numpy as np
import simdjson
import uvloop

from bench import work

LARGE = 4096  # bytes of JSON from which simdjson is faster than msgspec


class Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float] = []


class Request(msgspec.Struct):
    inputs: list[Input]
    id: str | None = None


class Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Response(msgspec.Struct):
    model_name: str
    outputs: list[Output]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
DATATYPES = {"i": "INT64", "f": "FP32"}
decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode
parser = simdjson.Parser()


def to_array(body: bytes | bytearray, header_length: int) -> np.ndarray[Any, Any]:
    if header_length:
        tensor = decode(memoryview(body)[:header_length]).inputs[0]
        return np.frombuffer(body, np.float32, offset=header_length).reshape(tensor.shape)
    if len(body) > LARGE:
        found = parser.parse(bytes(body))["inputs"][0]
        numbers = np.frombuffer(found["data"].as_buffer(of_type="d"), np.float64)
        return numbers.astype(np.float32).reshape(found["shape"].as_list())
    tensor = decode(body).inputs[0]
    return np.array(tensor.data, np.float32).reshape(tensor.shape)


def to_answer(result: np.ndarray[Any, Any]) -> bytes:
    output = Output("label", DATATYPES[result.dtype.kind], list(result.shape), result.ravel().tolist())
    body = encode(Response("model", [output]))
    return HEAD % (len(body), body)


class Loop(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body: bytes | bytearray = b""
        self.header_length = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 31 and name.lower() == b"inference-header-content-length":
            self.header_length = int(value)

    def on_body(self, part: bytes) -> None:
        if not self.body:
            self.body = part
            return
        if isinstance(self.body, bytes):
            self.body = bytearray(self.body)
        self.body += part

    def on_message_complete(self) -> None:
        self.transport.write(to_answer(predict(to_array(self.body, self.header_length))))


waiting: list[tuple[Loop, np.ndarray[Any, Any]]] = []


class BatchedLoop(Loop):
    def on_message_complete(self) -> None:
        waiting.append((self, to_array(self.body, self.header_length)))
        if len(waiting) == 1:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, flush)  # behind everything that this turn can read


def flush() -> None:
    while waiting:
        part, waiting[:] = waiting[: given.batch], waiting[given.batch :]
        results = predict(np.concatenate([rows for _, rows in part]) if len(part) > 1 else part[0][1])
        start = 0
        for connection, rows in part:
            end = start + len(rows)
            if not connection.transport.is_closing():
                connection.transport.write(to_answer(results[start:end]))
            start = end


async def main() -> None:
    kind = BatchedLoop if given.batch else Loop
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", given.port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--batch", type=int, default=0)
    given = arguments.parse_args()
    predict = work.load(given.model)
    uvloop.run(main())
