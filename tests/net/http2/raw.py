"""A client that sends the frames it is told to, made and read by another project's library (hyperframe); all with
deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from ..raw import DEADLINE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "x")]
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x")]

F = TypeVar("F", bound=Frame)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.frames: list[Frame] = []
        self.ended = False

    @classmethod
    async def connect(cls, port: int, settings: dict[int, int] | None = None) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.send_bytes(PREFACE)
        client.send(SettingsFrame(settings=settings or {}))
        return client

    def send_bytes(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, *frames: Frame) -> None:
        self.writer.write(b"".join(frame.serialize() for frame in frames))

    def headers(self, stream: int, fields: list[tuple[str, str]], end: bool = True) -> HeadersFrame:
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        return HeadersFrame(stream, self.encoder.encode(fields), flags=flags)

    def data(self, stream: int, body: bytes, end: bool = True) -> DataFrame:
        return DataFrame(stream, body, flags=["END_STREAM"] if end else [])

    async def read(self) -> Frame:
        """The next frame."""
        async with asyncio.timeout(DEADLINE):
            head = await self.reader.readexactly(9)
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(await self.reader.readexactly(length)))
        if isinstance(frame, HeadersFrame):
            while "END_HEADERS" not in frame.flags:
                more = await self.read()
                frame.data += more.data
                frame.flags |= more.flags
            frame.fields = dict(self.decoder.decode(frame.data, raw=True))
        return frame

    async def until(self, kind: type[F], wanted: Callable[[F], bool] = lambda frame: True) -> F:
        """The next frame of a kind that is wanted; those before it are kept in `frames`."""
        while True:
            frame = await self.read()
            self.frames.append(frame)
            if isinstance(frame, kind) and wanted(frame):
                return frame

    async def answer(self, stream: int) -> tuple[dict[bytes, bytes], bytes, dict[bytes, bytes]]:
        """Head, body and trailers of the answer on a stream."""
        head: dict[bytes, bytes] | None = None
        body = b""
        while True:
            frame = await self.read()
            self.frames.append(frame)
            if isinstance(frame, RstStreamFrame) and frame.stream_id == stream:
                raise AssertionError(f"reset with {frame.error_code}")
            if frame.stream_id != stream:
                continue
            if isinstance(frame, HeadersFrame) and head is None:
                head = frame.fields
                if "END_STREAM" in frame.flags:
                    return head, body, {}
            elif isinstance(frame, DataFrame):
                body += frame.data
                if frame.flow_controlled_length:
                    self.send(
                        WindowUpdateFrame(0, window_increment=frame.flow_controlled_length),
                        WindowUpdateFrame(stream, window_increment=frame.flow_controlled_length),
                    )
                if "END_STREAM" in frame.flags:
                    return head or {}, body, {}
            elif isinstance(frame, HeadersFrame):
                return head or {}, body, frame.fields

    async def rest(self) -> list[Frame]:
        """Every frame up to the end of the connection."""
        try:
            while True:
                self.frames.append(await self.read())
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self.ended = True
        return self.frames

    async def failure(self) -> int | None:
        """The error code that the connection ends with; None if it ends without one."""
        goaways = [frame for frame in await self.rest() if isinstance(frame, GoAwayFrame)]
        return goaways[-1].error_code if goaways else None

    async def alive(self) -> bool:
        """Whether the server still answers a PING."""
        self.send(PingFrame(0, b"alive???"))
        await self.until(PingFrame, lambda ping: "ACK" in ping.flags and ping.opaque_data == b"alive???")
        return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass
