"""What passes between a replica and the process of its model: values with arrays in them, over a Unix socket.

The values are data of clients, so nothing is pickled: a reader of these bytes can be made to build arrays, text and
numbers, and nothing else. Small things are MessagePack; the bytes of arrays lie behind it, are written from where they
are, and are read into one block, of which the arrays are views.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from colonnade.model import foreign
from colonnade.model.frames import pandas as the_pandas
from colonnade.wire.tensors import InferRequest, InferResponse

_HEAD = struct.Struct("<IQ")  # bytes of the MessagePack, and of the arrays behind it
_ALIGNMENT = 64  # arrays begin at multiples of it
_FIRST_READ = 64 << 10  # a message up to this size takes one system call
_MOST_PARTS = 512  # parts of one system call; Linux takes 1,024

# Codes of MessagePack extensions.
_ARRAY, _OBJECTS, _FRAME, _REQUEST, _RESPONSE = range(5)


class _Array(msgspec.Struct, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    offset: int
    scalar: bool  # numpy's scalars are not arrays of no dimension: what a model returns says which it is


class _Objects(msgspec.Struct, array_like=True):
    shape: tuple[int, ...]
    elements: list[Any]


class _Frame(msgspec.Struct, array_like=True):
    names: list[Any]
    columns: list[Any]


class Unsendable(TypeError):
    """A value of a type that does not pass; the message names it."""


class Channel:
    """One end of the socket, which blocks. The two ends speak in turns: one asks, one answers."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._first = bytearray(_FIRST_READ)

    def send(self, values: Sequence[Any]) -> None:
        """Writes values: what JSON has, bytes, arrays, data frames; requests and answers of the protocol as a whole.

        Raises:
            Unsendable: one holds something else; nothing is written.
            OSError: the other end is gone.
        """
        parts = _packed(values)
        while parts:
            sent = self._socket.sendmsg(parts[:_MOST_PARTS])
            while parts and sent >= parts[0].nbytes:
                sent -= parts.pop(0).nbytes
            if sent:
                parts[0] = parts[0][sent:]

    def receive(self) -> list[Any]:
        """Reads what one `send` of the other end wrote.

        Raises:
            EOFError: the other end is gone.
            OSError: the same.
        """
        first = memoryview(self._first)
        got = self._read(first)
        while got < _HEAD.size:
            got += self._read(first[got:])
        text_size, data_size = _HEAD.unpack_from(first)
        begun = first[_HEAD.size : got]
        text = self._filled(text_size, begun)
        return _unpacked(text, self._filled(data_size, begun[text_size:]))

    def close(self) -> None:
        """Ends the conversation."""
        self._socket.close()

    def _filled(self, size: int, begun: memoryview) -> np.ndarray:
        """A block of this size of its own, of which some bytes may be here already."""
        block = np.empty(size, np.uint8)
        view = block.data
        got = min(size, len(begun))
        view[:got] = begun[:got]
        while got < size:
            got += self._read(view[got:])
        return block

    def _read(self, into: memoryview) -> int:
        count = self._socket.recv_into(into)
        if not count:
            raise EOFError("the other end of the channel is closed")
        return count


def _packed(values: Sequence[Any]) -> list[memoryview]:
    """The parts of a message, in order."""
    data: list[memoryview] = []
    size = 0

    def add(array: np.ndarray, scalar: bool) -> msgspec.msgpack.Ext:
        nonlocal size
        described = _Array(array.dtype.str, array.shape, size, scalar)
        if array.nbytes:
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            padding = -flat.nbytes % _ALIGNMENT
            data.append(flat)
            if padding:
                data.append(memoryview(bytes(padding)))
            size += flat.nbytes + padding
        return msgspec.msgpack.Ext(_ARRAY, encode(described))

    def extend(found: Any) -> Any:
        if isinstance(found, np.generic):
            return add(np.asarray(found), True)
        if isinstance(found, np.ndarray):
            if found.dtype.hasobject:
                return msgspec.msgpack.Ext(_OBJECTS, encode(_Objects(found.shape, found.ravel().tolist())))
            if found.dtype.names is None:
                return add(found, False)
        if hasattr(found, "to_numpy"):
            if not hasattr(found, "columns"):  # a series
                return extend(found.to_numpy())
            columns = [found.iloc[:, position].to_numpy() for position in range(len(found.columns))]
            return msgspec.msgpack.Ext(_FRAME, encode(_Frame(list(found.columns), columns)))
        response = foreign.response(found)
        if response is None:
            raise Unsendable(f"a value of type {type(found).__name__}")
        return tagged(response)

    def tagged(found: Any) -> Any:
        if isinstance(found, (InferRequest, InferResponse)):
            return msgspec.msgpack.Ext(_REQUEST if isinstance(found, InferRequest) else _RESPONSE, encode(found))
        return found

    encode = msgspec.msgpack.Encoder(enc_hook=extend).encode
    try:
        text = encode([tagged(value) for value in values])
    except Unsendable:
        raise
    except (OverflowError, TypeError, ValueError, RecursionError) as error:  # a number of over 64 bits, odd keys
        raise Unsendable(f"a value that has no form between processes ({error})") from None
    head = _HEAD.pack(len(text), size)
    return [memoryview(head + text), *data]


def _unpacked(text: np.ndarray, data: np.ndarray) -> list[Any]:
    def array(described: _Array) -> Any:
        dtype = np.dtype(described.dtype)
        size = math.prod(described.shape) * dtype.itemsize
        found = data[described.offset : described.offset + size].view(dtype).reshape(described.shape)
        return found[()] if described.scalar else found

    def extend(code: int, content: memoryview) -> Any:
        if code == _ARRAY:
            return array(msgspec.msgpack.decode(content, type=_Array))
        if code == _OBJECTS:
            objects = msgspec.msgpack.decode(content, type=_Objects)
            made = np.empty(len(objects.elements), np.object_)
            made[:] = objects.elements
            return made.reshape(objects.shape)
        if code == _FRAME:
            frame = msgspec.msgpack.Decoder(_Frame, ext_hook=extend).decode(content)
            made_frame = the_pandas().DataFrame(dict(enumerate(frame.columns)))
            made_frame.columns = frame.names
            return made_frame
        if code == _REQUEST:
            return requests.decode(content)
        return responses.decode(content)

    requests = msgspec.msgpack.Decoder(InferRequest, dec_hook=_as_it_is, ext_hook=extend)
    responses = msgspec.msgpack.Decoder(InferResponse, dec_hook=_as_it_is, ext_hook=extend)
    values: list[Any] = msgspec.msgpack.Decoder(ext_hook=extend).decode(text.data)
    return values


def _as_it_is(_: type, value: Any) -> Any:
    """A tensor's data, which `ext_hook` has made already."""
    return value
