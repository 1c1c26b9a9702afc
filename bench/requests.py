"""The requests of the comparison as the bytes that go out, and what the right answer to each is."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from bench.machine import WORK, Unfit
from colonnade.wire import openinference_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"
JSON = "application/json"
BINARY = "application/octet-stream"
FLOATS = 150_528  # 3 x 224 x 224, an image

FLOWER = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)  # of class 0


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        model: the served model's name.
        body: the file that holds the body.
        headers: what goes with it.
        expected: the one value of the right answer.
        grpc: it is a gRPC message in its 5-byte frame; else HTTP.
    """

    model: str
    body: Path
    headers: Mapping[str, str]
    expected: float
    grpc: bool = False

    @property
    def path(self) -> str:
        return METHOD if self.grpc else f"/v2/models/{self.model}/infer"

    def ask(self, port: int, headers: Mapping[str, str]) -> int:
        """Sends it once.

        Returns:
            The bytes of the answer's body.

        Raises:
            OSError: nothing answers there yet.
            ValueError: it cannot answer yet; says what came.
            Unfit: the answer is wrong.
        """
        return (self._ask_grpc if self.grpc else self._ask_http)(port, {**self.headers, **headers})

    def _ask_http(self, port: int, headers: Mapping[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", self.path, self.body.read_bytes(), dict(headers))
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise ValueError(f"no HTTP answer: {error!r}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {body[:200]!r}")
        found = json.loads(body)
        outputs = found["outputs"] if isinstance(found, dict) else found  # BentoML's batches are plain lists
        self._hold(np.array(outputs[0]["data"]), body)
        return len(body)

    def _ask_grpc(self, port: int, headers: Mapping[str, str]) -> int:
        options = [("grpc.max_receive_message_length", 1 << 26)]
        metadata = [(name, value) for name, value in headers.items() if name not in GRPC_HEADERS]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call = channel.unary_unary(METHOD)
            try:
                answer = call(self.body.read_bytes()[5:], timeout=30, metadata=metadata)
            except grpc.RpcError as error:
                kind = ConnectionError if error.code() is grpc.StatusCode.UNAVAILABLE else ValueError
                raise kind(f"{error.code().name}: {error.details()}") from None
        message = pb.ModelInferResponse.FromString(answer)
        contents = message.outputs[0].contents
        values = contents.int64_contents or contents.fp32_contents
        if message.raw_output_contents:
            datatype = {"INT64": np.int64, "FP32": np.float32}[message.outputs[0].datatype]
            values = np.frombuffer(message.raw_output_contents[0], datatype)
        self._hold(np.array(values), answer)
        return len(answer) + 5

    def _hold(self, values: np.ndarray[Any, Any], body: bytes) -> None:
        if values.size != 1 or values.dtype.kind not in "if" or not np.allclose(values, self.expected, rtol=1e-4):
            raise Unfit(f"gives a wrong answer, expected {self.expected}: {body[:200]!r}")


GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}


def flower(model: str) -> Request:
    """One flower to be classified, 4 numbers of V2 JSON."""
    return Request(model, _write("flower.json", _json(FLOWER)), {"Content-Type": JSON}, 0)


def flower_grpc(model: str) -> Request:
    """The same as ModelInfer with raw contents. Its id saves servers that make one the work."""
    message = pb.ModelInferRequest(model_name=model, id="1", raw_input_contents=[FLOWER.tobytes()])
    message.inputs.add(name="X", datatype="FP32", shape=FLOWER.shape)
    body = message.SerializeToString()
    return Request(model, _write("flower.grpc", struct.pack(">BI", 0, len(body)) + body), GRPC_HEADERS, 0, grpc=True)


def floats_json(model: str) -> Request:
    """A row of 150,528 numbers as V2 JSON, 1.75 MB."""
    row = _row()
    return Request(model, _write("floats.json", _json(row)), {"Content-Type": JSON}, float(row.mean()))


def floats_binary(model: str) -> Request:
    """The same row as V2's binary extension, 602 KB. The answer is one number, in JSON."""
    row = _row()
    tensor = {"name": "X", "shape": row.shape, "datatype": "FP32", "parameters": {"binary_data_size": row.nbytes}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Content-Type": BINARY, "Inference-Header-Content-Length": str(len(head))}
    return Request(model, _write("floats.bin", head + row.tobytes()), headers, float(row.mean()))


def _row() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).random((1, FLOATS), dtype=np.float32)


def _json(array: np.ndarray[Any, Any]) -> bytes:
    data = [float(str(value)) for value in array.ravel()]  # the shortest text of a float32
    tensor = {"name": "X", "shape": array.shape, "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def _write(name: str, body: bytes) -> Path:
    path = WORK / name
    WORK.mkdir(exist_ok=True)
    path.write_bytes(body)
    return path
