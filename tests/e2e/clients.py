"""Clients that ask with numbers nobody else sends and look whether each answer is of their own question.

Each is a process of its own with bare sockets: many connections with one request in flight each for HTTP/1.1, many
streams of one connection for gRPC. A question is rows of `[4n + k, -(4n + k)]` for a number n that is used once, in one
to three rows; its id carries n, too. An identity model must answer with the same.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hpack
import numpy as np

from colonnade.wire import openinference_pb2 as pb

IDENTITY = """
import numpy as np
import colonnade


class Same(colonnade.Model):
    max_batch_size = 32

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x
"""

PROTOCOLS = ("v1", "json", "binary", "grpc")
AT_ONCE = 8  # requests of one client in flight
CANCEL_ROUNDS = 100  # one round in so many is given up in the middle
DEADLINE = 30.0  # seconds for an answer
REST = 0.02  # seconds before a client that was turned away asks again

_FIRST = 1 << 32  # numbers of one client
_CONTENT_LENGTH = b"\r\ncontent-length:"
_HEADER_LENGTH = b"\r\ninference-header-content-length:"


class WrongAnswer(Exception):
    """An answer of something else than was asked."""


class Lost(Exception):
    """No good answer came; the text is a status or says how the connection ended."""


@dataclass
class Plan:
    """What one client does.

    Attributes:
        goal: answers to questions that were not asked before.
        twice: each question is asked again under another id, which the response cache may answer.
        cancels: some requests are given up in the middle.
    """

    protocol: str
    address: tuple[str, int]
    service: str
    number: int
    goal: int
    twice: bool
    cancels: bool


class Fleet:
    """Clients at work.

    Attributes:
        outcomes: how often what happened: `answered`, `repeated`, `cached`, `cancelled`, `failed: ...`; complete after
            `join`.
        wrong: what was answered wrongly, in words; complete after `join`.
    """

    def __init__(self, plans: list[Plan]) -> None:
        context = multiprocessing.get_context("spawn")
        self._told = context.SimpleQueue()
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._processes = [context.Process(target=_run, args=(plan, self._told), daemon=True) for plan in plans]
        for process in self._processes:
            process.start()

    @property
    def busy(self) -> bool:
        self._listen()
        return any(process.is_alive() for process in self._processes)

    def join(self) -> None:
        """Waits until every client has reached its goal or got a wrong answer."""
        for process in self._processes:
            while process.is_alive():
                self._listen()
                process.join(0.1)
        self._listen()
        assert [process.exitcode for process in self._processes] == [0] * len(self._processes)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def _listen(self) -> None:
        while not self._told.empty():
            outcomes, wrong = self._told.get()
            self.outcomes.update(outcomes)
            self.wrong += wrong


@contextmanager
def fleet(
    endpoints: dict[str, str], services: dict[str, bool], count: int, *, cancels: bool, round: int = 0
) -> Iterator[Fleet]:
    """A client for each protocol and service, `count` questions between them.

    Args:
        services: names, and whether each asks twice.
        round: tells apart the numbers of fleets on one platform.
    """
    pairs = [(protocol, name) for protocol in PROTOCOLS for name in services]
    plans = [
        Plan(
            protocol,
            _address(endpoints["grpc" if protocol == "grpc" else "http"]),
            name,
            round * len(pairs) + index + 1,
            -(-count // len(pairs)),
            services[name],
            cancels,
        )
        for index, (protocol, name) in enumerate(pairs)
    ]
    running = Fleet(plans)
    try:
        yield running
    finally:
        running.end()


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    return host, int(port)


def _run(plan: Plan, told: Any) -> None:
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    rng = random.Random(plan.number)
    client = _Grpc(plan) if plan.protocol == "grpc" else _Http(plan)
    number = plan.number * _FIRST
    try:
        while outcomes["answered"] < plan.goal:
            numbers = range(number, number + AT_ONCE)
            number += AT_ONCE
            if plan.cancels and rng.randrange(CANCEL_ROUNDS) == 0:
                outcomes["cancelled"] += client.cancel(numbers, rng)
            for name in ("answered", "repeated")[: 1 + plan.twice]:
                results = client.ask(numbers, name == "repeated")
                outcomes[name] += results.count("")
                outcomes.update(f"failed: {result}" for result in results if result)
                if any(results):
                    time.sleep(REST)
    except WrongAnswer as error:
        wrong.append(f"{plan.protocol} {plan.service}: {error}")
    finally:
        client.close()
    outcomes["cached"] = client.cached
    told.put((dict(outcomes), wrong))


def _rows(number: int) -> list[list[int]]:
    return [[4 * number + row, -(4 * number + row)] for row in range(1 + number % 3)]


def _identity(number: int, again: bool) -> str:
    return f"{number}-{'again' if again else 'first'}"


def _check(number: int, again: bool, identity: str | None, values: object) -> None:
    wanted = _identity(number, again)
    if identity != wanted or values != _rows(number):
        raise WrongAnswer(f"id {wanted} of {_rows(number)} got id {identity} of {str(values)[:500]}")


class _Http:
    """A client of HTTP/1.1: one request in flight on each connection."""

    def __init__(self, plan: Plan) -> None:
        self._address = plan.address
        self._made, self._read = _FORMS[plan.protocol]
        tail = f"v1/models/{plan.service}:predict" if plan.protocol == "v1" else f"v2/models/{plan.service}/infer"
        self._target = f"/serving/default/{plan.service}/{tail}".encode()
        self._socks: list[socket.socket | None] = [None] * AT_ONCE
        self.cached = 0  # answers that came out of the response cache

    def close(self) -> None:
        for index in range(AT_ONCE):
            self._drop(index)

    def ask(self, numbers: range, again: bool) -> list[str]:
        """What became of each question: nothing if it was answered, else why not."""
        results = [""] * len(numbers)
        for index, number in enumerate(numbers):
            try:
                self._sock(index).sendall(self._request(number, again))
            except OSError as error:
                results[index] = type(error).__name__
                self._drop(index)
        for index, number in enumerate(numbers):
            if results[index]:
                continue
            try:
                head, body = self._answer(index)
                self._read(number, again, head, body)
            except (OSError, Lost) as error:
                results[index] = str(error) if isinstance(error, Lost) else type(error).__name__
                self._drop(index)
        return results

    def cancel(self, numbers: range, rng: random.Random) -> int:
        """Sends the questions or only parts of them and closes the connections."""
        for index, number in enumerate(numbers):
            data = self._request(number, False)
            try:
                self._sock(index).sendall(data[: rng.choice([len(data), len(data), rng.randrange(1, len(data))])])
            except OSError:
                pass
        time.sleep(rng.random() * 0.003)
        self.close()
        return len(numbers)

    def _request(self, number: int, again: bool) -> bytes:
        fields, body = self._made(number, again)
        return b"POST %b HTTP/1.1\r\nHost: x\r\nX-Request-Id: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            *(self._target, _identity(number, again).encode(), fields, len(body), body),
        )

    def _sock(self, index: int) -> socket.socket:
        sock = self._socks[index]
        if sock is None:
            sock = self._socks[index] = _connected(self._address)
        return sock

    def _drop(self, index: int) -> None:
        sock, self._socks[index] = self._socks[index], None
        if sock is not None:
            sock.close()

    def _answer(self, index: int) -> tuple[bytes, bytes]:
        """Head in lower case and body of the answer on a connection."""
        sock = self._sock(index)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += _received(sock)
        head, data = data[: end + 2].lower(), data[end + 4 :]
        length = _field(head, _CONTENT_LENGTH)
        if length is None:
            raise WrongAnswer(f"an answer without a length: {head!r}")
        while len(data) < int(length):
            data += _received(sock)
        if len(data) > int(length):
            raise WrongAnswer(f"bytes behind an answer: {data[int(length) :]!r}")
        if not head.startswith(b"http/1.1 200 "):
            raise Lost(head[9:12].decode())
        if b"\r\nconnection: close" in head:
            self._drop(index)
        self.cached += b"; hit" in (_field(head, b"\r\ncache-status:") or b"")
        return head, data


class _Grpc:
    """A client of gRPC: all requests are streams of one connection."""

    def __init__(self, plan: Plan) -> None:
        self._address = plan.address
        self._service = plan.service
        self.cached = 0  # its answers do not tell
        self._block = b"".join(
            b"\0%c%b%c%b" % (len(name), name, len(value), value)  # a literal that no table remembers
            for name, value in [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
                (b":authority", f"{plan.service}-default.example.com".encode()),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
            ]
        )
        self._sock: socket.socket | None = None
        self._stream = 1
        self._held = b""
        self._fields = hpack.Decoder()

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def ask(self, numbers: range, again: bool) -> list[str]:
        """See `_Http.ask`."""
        streams: dict[int, int] = {}
        bodies: dict[int, bytes] = {}
        results = [""] * len(numbers)
        try:
            sock = self._connection()
            sock.sendall(b"".join(self._request(number, again, streams) for number in numbers))
            while streams:
                kind, flags, stream, rest = self._frame(sock)
                number = streams.get(stream, -1)
                if kind == 7:
                    raise Lost("GOAWAY")
                failure = "RST_STREAM" if kind == 3 else ""
                if kind == 0:
                    bodies[stream] = bodies.get(stream, b"") + rest
                elif kind == 1:
                    status = dict(self._fields.decode(rest, raw=True)).get(b"grpc-status", b"0")
                    failure = "" if status == b"0" else f"grpc-status {status.decode()}"
                if number < 0 or not (failure or flags & 1):
                    continue
                del streams[stream]
                body = bodies.pop(stream, b"")
                results[number - numbers.start] = failure
                if not failure:
                    self._read(number, again, body)
        except (OSError, Lost) as error:
            for number in streams.values() if streams else numbers:
                results[number - numbers.start] = str(error) if isinstance(error, Lost) else type(error).__name__
            self.close()
        return results

    def cancel(self, numbers: range, rng: random.Random) -> int:
        """Asks and resets the streams, or closes the connection within a frame."""
        try:
            sock = self._connection()
            streams: dict[int, int] = {}
            sock.sendall(b"".join(self._request(number, False, streams) for number in numbers))
            time.sleep(rng.random() * 0.003)
            if rng.random() < 0.8:
                sock.sendall(b"".join(_h2_frame(3, 0, stream, b"\0\0\0\x08") for stream in streams))
            else:
                sock.sendall(self._request(numbers[0], False, streams)[: rng.randrange(1, 200)])
                self.close()
        except OSError:
            self.close()
        return len(numbers)

    def _request(self, number: int, again: bool, streams: dict[int, int]) -> bytes:
        message = pb.ModelInferRequest(model_name=self._service, id=_identity(number, again))
        rows = _rows(number)
        message.inputs.add(name="x", datatype="INT64", shape=[len(rows), 2])
        message.raw_input_contents.append(np.array(rows, "<i8").tobytes())
        data = message.SerializeToString()
        stream, self._stream = self._stream, self._stream + 2
        streams[stream] = number
        body = b"\0%b%b" % (struct.pack(">I", len(data)), data)
        return _h2_frame(1, 4, stream, self._block) + _h2_frame(0, 1, stream, body)

    def _read(self, number: int, again: bool, body: bytes) -> None:
        if len(body) < 5 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
            raise WrongAnswer(f"no whole message for {number}: {body!r}")
        message = pb.ModelInferResponse.FromString(body[5:])
        (output,), (raw,) = message.outputs, message.raw_output_contents
        values = np.frombuffer(raw, "<i8").reshape(list(output.shape)).tolist()
        _check(number, again, message.id, values)

    def _connection(self) -> socket.socket:
        if self._sock is None:
            self._sock = _connected(self._address)
            self._stream, self._held, self._fields = 1, b"", hpack.Decoder()
            window = _h2_frame(8, 0, 0, struct.pack(">I", (1 << 31) - (1 << 16)))
            self._sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _h2_frame(4, 0, 0, b"") + window)
        return self._sock

    def _frame(self, sock: socket.socket) -> tuple[int, int, int, bytes]:
        while len(self._held) < 9 or len(self._held) < 9 + int.from_bytes(self._held[:3], "big"):
            self._held += _received(sock)
        length, kind, flags = int.from_bytes(self._held[:3], "big"), self._held[3], self._held[4]
        stream, rest = int.from_bytes(self._held[5:9], "big"), self._held[9 : 9 + length]
        self._held = self._held[9 + length :]
        if kind in (4, 6) and not flags & 1:
            sock.sendall(_h2_frame(kind, 1, 0, rest if kind == 6 else b""))
        return kind, flags, stream, rest


def _h2_frame(kind: int, flags: int, stream: int, rest: bytes) -> bytes:
    return b"%b%c%c%b%b" % (len(rest).to_bytes(3, "big"), kind, flags, stream.to_bytes(4, "big"), rest)


def _connected(address: tuple[str, int]) -> socket.socket:
    sock = socket.create_connection(address, timeout=DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise Lost("closed")
    return data


def _field(head: bytes, name: bytes) -> bytes | None:
    at = head.find(name)
    return None if at < 0 else head[at + len(name) : head.index(b"\r\n", at + len(name))].strip()


def _v1_made(number: int, again: bool) -> tuple[bytes, bytes]:
    return b"Content-Type: application/json\r\n", json.dumps({"instances": _rows(number)}).encode()


def _v1_read(number: int, again: bool, head: bytes, body: bytes) -> None:
    identity = _field(head, b"\r\nx-request-id:")
    _check(number, again, identity and identity.decode(), json.loads(body)["predictions"])


def _json_made(number: int, again: bool) -> tuple[bytes, bytes]:
    rows = _rows(number)
    tensor = {"name": "x", "datatype": "INT64", "shape": [len(rows), 2], "data": rows}
    return b"", json.dumps({"id": _identity(number, again), "inputs": [tensor]}).encode()


def _json_read(number: int, again: bool, head: bytes, body: bytes) -> None:
    message = json.loads(body)
    (output,) = message["outputs"]
    _check(number, again, message.get("id"), np.array(output["data"]).reshape(output["shape"]).tolist())


def _binary_made(number: int, again: bool) -> tuple[bytes, bytes]:
    raw = np.array(_rows(number), "<i8").tobytes()
    shape, size = [1 + number % 3, 2], {"binary_data_size": len(raw)}
    tensor = {"name": "x", "datatype": "INT64", "shape": shape, "parameters": size}
    asked = {"id": _identity(number, again), "parameters": {"binary_data_output": True}, "inputs": [tensor]}
    text = json.dumps(asked).encode()
    return b"Inference-Header-Content-Length: %d\r\n" % len(text), text + raw


def _binary_read(number: int, again: bool, head: bytes, body: bytes) -> None:
    length = _field(head, _HEADER_LENGTH)
    if length is None:
        raise WrongAnswer(f"no binary answer for {number}: {body!r}")
    message = json.loads(body[: int(length)])
    (output,) = message["outputs"]
    values = np.frombuffer(body[int(length) :], "<i8").reshape(output["shape"]).tolist()
    _check(number, again, message.get("id"), values)


_Made = Callable[[int, bool], tuple[bytes, bytes]]
_Read = Callable[[int, bool, bytes, bytes], None]
_FORMS: dict[str, tuple[_Made, _Read]] = {
    "v1": (_v1_made, _v1_read),
    "json": (_json_made, _json_read),
    "binary": (_binary_made, _binary_read),
}
