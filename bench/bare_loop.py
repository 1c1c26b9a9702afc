"""The limit that the others are held against: uvloop, a protocol, a C parser, typed JSON, the model. No routes, no
validation, no limits, no metrics, no errors: an upper bound of what one Python process can answer, not a server.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httptools
import msgspec
import numpy as np
import uvloop
import work


class Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(msgspec.Struct):
    inputs: list[Input]
    id: str | None = None


class Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[int]


class Response(msgspec.Struct):
    model_name: str
    outputs: list[Output]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


class Loop(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        tensor = decode(self.body).inputs[0]
        labels = predict(np.array(tensor.data, np.float32).reshape(tensor.shape))
        answer = encode(Response("iris", [Output("label", "INT64", list(labels.shape), labels.ravel().tolist())]))
        self.transport.write(HEAD % (len(answer), answer))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Loop, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    predict = work.load(sys.argv[1])
    uvloop.run(main(int(sys.argv[2])))
