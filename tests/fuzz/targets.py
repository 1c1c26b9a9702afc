"""What the fuzzer calls: one parser each, from bytes of its choice; and inputs that each begins with.

A target raises if the parser does what no bytes may make it do: raise anything but the product's own refusals, answer
500, log an error of ours, or hold on to a request whose connection is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import zlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import hpack
import numpy as np
from google.protobuf.message import DecodeError

from colonnade.errors import Error, InferenceError
from colonnade.net import Exchange, HttpServer, Limits, mux
from colonnade.net.http2 import PREFACE, Http2
from colonnade.net.http2 import frames as http2_frames
from colonnade.net.mux import frames as mux_frames
from colonnade.net.mux.heads import pack_answer, pack_request, unpack_answer, unpack_request
from colonnade.wire import bulk, grpc, grpc_framing, v1, v2
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.rawdata import from_raw, to_raw
from colonnade.wire.tensors import DTYPES, InferRequest, InferResponse, Tensor

Target = Callable[[bytes], None]

LIMITS = Limits(header_bytes=4096, header_count=50, body_bytes=5000)
_MAX_MESSAGE = 1 << 16
_NO_HEADER = 0xFFFF
_NOWHERE = socket.socket(socket.AF_UNIX)  # its peer has no process, so no memory of one is shared


class Broken(Exception):
    """A parser did what it must not."""


class Wire(asyncio.Transport):
    """Where the server's bytes go: the edge of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _NOWHERE if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    abort = close


class _Complaints(logging.Handler):
    """Keeps what is logged with an exception: a fault of ours that somebody caught."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.records.append(logging.Formatter().format(record))


class _Server:
    """Feeds connections of a server that is never on a network."""

    def __init__(self, protocol: Callable[[HttpServer], asyncio.Protocol], greeting: bytes = b"") -> None:
        self._protocol = protocol
        self._greeting = greeting
        self._runner = asyncio.Runner()
        self._complaints = _Complaints()
        logging.getLogger().addHandler(self._complaints)
        self._runner.get_loop().set_exception_handler(self._unhandled)

    def __call__(self, data: bytes) -> None:
        """The first byte says where the rest is cut into two reads."""
        cut, rest = data[:1], data[1:]
        at = len(rest) * cut[0] // 255 if cut else 0
        self._runner.run(self._feed([self._greeting + rest[:at], rest[at:]]))
        if self._complaints.records:
            raise Broken("\n".join(self._complaints.records))

    async def _feed(self, pieces: list[bytes]) -> None:
        server = HttpServer(_echo, limits=LIMITS)
        connection = self._protocol(server)
        wire = Wire()
        connection.connection_made(wire)
        for piece in pieces:
            if piece and not wire.closed:
                connection.data_received(piece)
                await asyncio.sleep(0)
        if not wire.closed:
            connection.eof_received()
        await asyncio.sleep(0)
        connection.connection_lost(None)
        if (server.active, server.connections) != (0, 0):
            raise Broken(f"{server.active} requests and {server.connections} connections are held after the end")
        if b"Internal error" in wire.written or wire.written.startswith(b"HTTP/1.1 500"):
            raise Broken(f"answered {bytes(wire.written)!r}")
        await server.drain(0.0)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._complaints.records.append(f"{context.get('message')}: {context.get('exception')!r}")


def _echo(exchange: Exchange) -> None:
    exchange.collect(lambda body: exchange.reply(200, body, b"text/plain"))


def _http1() -> Target:
    from colonnade.net.connection import Connection

    return _Server(Connection)


def _http2() -> Target:
    return _Server(lambda server: Http2()(server), PREFACE)


def _mux() -> Target:
    server = _Server(mux.MuxConnection, mux_frames.PREFACE)

    def target(data: bytes) -> None:
        server(data)
        for unpack in (lambda: unpack_request(data, 50), lambda: unpack_answer(data)):
            try:
                unpack()
            except mux_frames.Malformed:
                pass

    return target


def _v2_json() -> Target:
    return lambda data: _same_in_bulk(lambda: _decoded(data, None), data)


def _binary() -> Target:
    """Two bytes of header length and a body; and one tensor: its datatype, its rank, its shape, its bytes."""
    kinds = sorted(DTYPES)

    def target(data: bytes) -> None:
        if len(data) < 3:
            return
        length = int.from_bytes(data[:2], "big")
        _refusing(lambda: _decoded(data[2:], None if length == _NO_HEADER else length))
        datatype, rank = kinds[data[0] % len(kinds)], data[1] % 4
        shape = [int.from_bytes(data[2 + at : 3 + at], "big", signed=True) for at in range(rank)]
        body = data[2 + rank :]
        array = _refusing(lambda: from_raw("x", datatype, shape, body, 0, len(body)))
        if array is not None and bytes(to_raw(Tensor("x", datatype, array.shape, array, None))) != body:
            raise Broken(f"{datatype} of {shape} does not come back as it was")

    return target


def _grpc() -> Target:
    """A body as one message and as a stream in two pieces; what it holds as a request and as compressed bytes."""

    def infer(message: bytes) -> None:
        try:
            parsed = pb.ModelInferRequest.FromString(message)
        except DecodeError:
            return
        request = _refusing(lambda: grpc.decode(parsed))
        if request is not None:
            _refusing(lambda: grpc.encode(InferResponse("m", request.inputs), request).SerializeToString())

    def stream(pieces: list[bytes]) -> list[tuple[bytes, bool]]:
        reader, sizes = grpc_framing.MessageReader(_MAX_MESSAGE), grpc_framing.MessageSizes(_MAX_MESSAGE)
        found = []
        for piece in pieces:
            found += reader.feed(piece)
            sizes.feed(piece)
        return found

    def target(data: bytes) -> None:
        infer(data[1:])
        message = _refusing(lambda: grpc_framing.whole(data[1:], _MAX_MESSAGE))
        if message is not None:
            infer(message[0])
        for coding in grpc_framing.CODINGS:
            unpacked = _refusing(lambda coding=coding: grpc_framing.inflated(data[1:], coding, _MAX_MESSAGE))
            if unpacked is not None:
                infer(unpacked)
            grpc_framing.beginning(data[1:], coding, 64)
        at = len(data) * data[0] // 255 if data else 0
        whole = _refusing(lambda: stream([data[1:]]))
        cut = _refusing(lambda: stream([data[1:][:at], data[1:][at:]]))
        if whole != cut:
            raise Broken(f"{whole} in one piece, {cut} in two")
        grpc_framing.message_of(data)
        grpc_framing.code_of(data)
        grpc_framing.is_grpc(data)

    return target


def _v1() -> Target:
    def decoded(data: bytes) -> bytes:
        return v1.encode(v1.decode(data, arrays=True))

    return lambda data: _same_in_bulk(lambda: decoded(data), data)


def _refusing(call: Callable[[], Any]) -> Any:
    """What the call gives; None if it is refused in the product's words."""
    try:
        return call()
    except Error as error:
        if error.status >= 500 and not isinstance(error, (InferenceError, grpc_framing.UnknownCoding)):
            raise
        return None


def _same_in_bulk(decode: Callable[[], Any], data: bytes) -> None:
    """Reads a body by way of typed structs and by way of `bulk`, which must not refuse what the other takes."""
    typed = _refusing(decode)
    with patch.object(bulk, "LARGE", 0):
        large = _refusing(decode)
    if (typed is None) != (large is None):
        raise Broken(f"typed: {typed!r:.500}, by way of bulk: {large!r:.500}")


def _decoded(body: bytes, header_length: int | None) -> list[bytes | memoryview]:
    request = v2.decode(body, header_length, "m")
    return v2.encode(InferResponse("m", request.inputs), request)[1]


def _http2_seeds() -> list[bytes]:
    post = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x"), ("content-length", "5")]
    frame, block = http2_frames.frame, hpack.Encoder().encode(post)
    begin = frame(4, 0, 0, b"")
    return [
        begin + frame(1, 4, 1, block) + frame(0, 1, 1, b"abcde"),
        begin + frame(1, 0, 1, block[:9]) + frame(9, 4, 1, block[9:]) + frame(3, 0, 1, b"\0\0\0\x08"),
        begin + frame(1, 0x2D, 1, b"\2\0\0\0\0\x10" + block + b"\0\0"),
        frame(4, 0, 0, b"\0\4\0\0\0\1\0\1\0\0\0\0") + frame(6, 0, 0, b"12345678") + frame(8, 0, 0, b"\0\0\1\0"),
        begin + frame(1, 4, 1, block) + frame(0, 9, 1, b"\2abcde\0\0") + frame(7, 0, 0, b"\0" * 8),
        begin + frame(1, 5, 1, hpack.Encoder().encode(post[:4], huffman=False)) + frame(2, 0, 1, b"\0\0\0\0\1"),
    ]


def _mux_seeds() -> list[bytes]:
    frame = mux_frames.frame
    head = frame(mux_frames.HEAD, 0, pack_request(b"POST", b"/", [(b"host", b"a")]), 0)
    opening = frame(mux_frames.OPEN, 1, struct.pack(">q", 5))
    return [
        head + frame(mux_frames.REQUEST, 1, b"body") + frame(mux_frames.CANCEL, 1),
        head + opening + frame(mux_frames.BODY, 1, b"abcde") + frame(mux_frames.END, 1),
        head + frame(mux_frames.CREDIT, 1, b"\0\0\1\0") + frame(mux_frames.MAPPING, 0, b"\0\0\0\3"),
        head + frame(mux_frames.REQUEST_AT, 1, b"\0" * 8) + frame(mux_frames.RELEASE, 0, b"\0" * 4),
        pack_request(b"GET", b"/a?b", [(b"host", b"a"), (b"content-length", b"1")]),
        pack_answer(200, b"text/plain", ((b"a", b"b"),), ((b"c", b"d"),)),
    ]


def _v2_seeds() -> list[bytes]:
    inputs = [
        {"name": "a", "datatype": "INT64", "shape": [2, 2], "data": [[1, -2], [3, 4]]},
        {"name": "b", "datatype": "FP32", "shape": [3], "data": [1.5, -2e30, 0], "parameters": {"content_type": "np"}},
        {"name": "c", "datatype": "BYTES", "shape": [2], "data": ["é\n", ""]},
        {"name": "d", "datatype": "BOOL", "shape": [1, 1], "data": [True]},
    ]
    rest = {"id": "1", "parameters": {"binary_data_output": True}, "outputs": [{"name": "a", "parameters": {}}]}
    return [json.dumps({"inputs": [one]}).encode() for one in inputs] + [
        json.dumps({**rest, "inputs": inputs}).encode()
    ]


def _binary_seeds() -> list[bytes]:
    seeds = []
    for datatype, shape, raw in [
        ("INT64", [1, 2], struct.pack("<2q", 1, -2)),
        ("BYTES", [2], b"\1\0\0\0a\0\0\0\0"),
        ("BF16", [2], b"\x80\x3f\0\0"),
        ("BOOL", [2], b"\1\0"),
    ]:
        tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        seeds.append(struct.pack(">H", len(text)) + text + raw)
        seeds.append(bytes([sorted(DTYPES).index(datatype), len(shape), *shape]) + raw)
    return seeds


def _grpc_seeds() -> list[bytes]:
    tensor = Tensor("x", "INT64", (1, 2), np.array([[1, -2]]), {"a": 1, "b": "c", "d": True})
    text = Tensor("t", "BYTES", (1,), np.array([b"abc"], np.object_), None)
    messages = [
        grpc.encode_request(kind("m", [tensor, text], "7", None, {"p": 1.5})).SerializeToString()
        for kind in (InferRequest, grpc.RawInferRequest)
    ]
    return [
        *messages,
        *map(grpc_framing.frame, messages),
        grpc_framing.frame(messages[0]) * 2,
        grpc_framing.deflated(messages[0], b"gzip"),
        zlib.compress(messages[1]),
    ]


_HTTP1_SEEDS = [
    b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nt: 1\r\n\r\n",
    b"HEAD * HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET http://h/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
]
_V1_SEEDS = [
    b'{"instances": [[1, 2.5, -3e10], [4, 5, 6]]}',
    b'{"inputs": {"a": [1, 2], "b": [[true, null]]}, "parameters": {}}',
    b'{"inputs": [{"a": "\\u00e9\\ud83d\\ude00", "b": {"b64": "YQ=="}}]}',
    b'{"instances": [{"x": 18446744073709551616}, "text"]}',
]

TARGETS: dict[str, tuple[Callable[[], Target], list[bytes]]] = {
    "http1": (_http1, [b"\x80" + seed for seed in _HTTP1_SEEDS]),
    "http2": (_http2, [b"\xff" + seed for seed in _http2_seeds()]),
    "mux": (_mux, [b"\x80" + seed for seed in _mux_seeds()]),
    "v2": (_v2_json, _v2_seeds()),
    "binary": (_binary, _binary_seeds()),
    "grpc": (_grpc, [b"\x80" + seed for seed in _grpc_seeds()]),
    "v1": (_v1, _V1_SEEDS),
}
