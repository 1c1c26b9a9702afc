"""The limit of gRPC: HTTP/2 frames by hand on uvloop, header blocks remembered, protobuf messages, the model.

It answers ModelInfer and nothing else: no flow control beyond a large window, no streams, no deadlines, no errors.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
from typing import Any

import hpack
import numpy as np
import uvloop

from bench import work
from colonnade.wire import openinference_pb2 as pb

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, ACK = 1, 1
PREFACE_BYTES = 24
WINDOW = 1 << 30


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


GREETING = frame(SETTINGS, 0, 0, struct.pack(">HIHIHI", 4, WINDOW, 5, 1 << 20, 3, 1000))
GREETING += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW))
HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
TRAILERS = literal(b"grpc-status", b"0")
HEAD_LENGTH, TRAILERS_LENGTH = struct.pack(">I", len(HEAD))[1:], struct.pack(">I", len(TRAILERS))[1:]
DATATYPES = {"i": "INT64", "f": "FP32"}


def infer(body: bytes) -> bytes:
    request = pb.ModelInferRequest.FromString(body)
    array = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
    result = predict(array)
    answer = pb.ModelInferResponse(model_name="model", id=request.id, raw_output_contents=[result.tobytes()])
    answer.outputs.add(name="label", datatype=DATATYPES[result.dtype.kind], shape=result.shape)
    return answer.SerializeToString()


class Connection(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.unread = b""
        self.begun = False
        self.decoder = hpack.Decoder()
        self.known: set[bytes] = set()
        self.bodies: dict[int, bytearray] = {}
        self.out: list[bytes] = []
        self.received = 0
        transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        data = self.unread + data if self.unread else data
        at, size = 0, len(data)
        if not self.begun:
            if size < PREFACE_BYTES:
                self.unread = data
                return
            self.begun, at = True, PREFACE_BYTES
        while size - at >= 9:
            length = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2]
            start, end = at + 9, at + 9 + length
            if end > size:
                break
            self.frame(data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : start], "big"), data[start:end])
            at = end
        self.unread = data[at:]
        if self.out:
            self.transport.write(b"".join(self.out))
            self.out.clear()

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self.received += len(payload)
            if self.received > WINDOW >> 1:
                self.out.append(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self.received)))
                self.received = 0
            if not flags & END_STREAM:
                self.bodies.setdefault(stream, bytearray()).extend(payload)
                return
            before = self.bodies.pop(stream, None)
            self.answer(stream, payload if before is None else bytes(before + payload))
        elif kind == HEADERS:
            self.head(payload)
        elif kind == SETTINGS and not flags & ACK:
            self.out.append(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.out.append(frame(PING, ACK, 0, payload))

    def head(self, block: bytes) -> None:
        """A block that leaves the dynamic table as it is means the same again."""
        if block in self.known:
            return
        table = self.decoder.header_table.dynamic_entries
        before = len(table)
        self.decoder.decode(block, raw=True)
        if len(table) == before:
            self.known.add(block)
        else:
            self.known.clear()

    def answer(self, stream: int, body: bytes) -> None:
        message = infer(body[5:])
        message = struct.pack(">BI", 0, len(message)) + message
        number = struct.pack(">I", stream)
        length = struct.pack(">I", len(message))[1:]
        parts = (HEAD_LENGTH, number, HEAD, length, number, message, TRAILERS_LENGTH, number, TRAILERS)
        self.out.append(b"%b\1\4%b%b%b\0\0%b%b%b\1\5%b%b" % parts)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    predict = work.load(given.model)
    uvloop.run(main(given.port))
