"""gRPC at a replica, by grpcio's own client: on every port, with metadata, codings, bounds, and an end."""

from __future__ import annotations

import asyncio
import signal
from queue import SimpleQueue

import grpc
import httpx
import numpy as np
import pytest

from colonnade.wire import grpc as codec
from colonnade.wire import health_pb2, reflection_pb2
from colonnade.wire import openinference_pb2 as pb

from .replica import DEADLINE, Replica, Start

CODE = """
    import numpy as np
    from colonnade import Model

    class Echo(Model):
        inline = True

        def predict(self, x: np.ndarray, response_headers: dict) -> np.ndarray:
            response_headers["X-Rows"] = str(len(x))
            return x
"""
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", "--max-message", str(LIMIT), code=CODE, tcp=True).ready()


def request(rows: np.ndarray) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[rows.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=rows.shape)
    return message


def rows(message: pb.ModelInferResponse) -> np.ndarray:
    return np.frombuffer(message.raw_output_contents[0], np.float32).reshape(message.outputs[0].shape)


def infer_of(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        f"/{codec.SERVICE}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )


def status(call: grpc.UnaryUnaryMultiCallable, message: object, **options: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call(message, timeout=DEADLINE, **options)
    return refused.value.code(), refused.value.details()


async def test_every_port_takes_it_and_answers_find_their_calls(replica: Replica) -> None:
    for address in (replica.authority, replica.grpc):
        async with grpc.aio.insecure_channel(address) as channel:
            infer = infer_of(channel)
            sent = [np.full((1, 4), i, np.float32) for i in range(300)]
            answers = await asyncio.gather(*(infer(request(one), timeout=DEADLINE) for one in sent))
            for one, answer in zip(sent, answers, strict=True):
                assert (rows(answer) == one).all()


def test_metadata_of_the_model_comes_behind_the_answer(replica: Replica) -> None:
    with grpc.insecure_channel(replica.grpc) as channel:
        _, call = infer_of(channel).with_call(request(np.ones((3, 4), np.float32)))
        assert ("x-rows", "3") in tuple(call.trailing_metadata())


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("count", [1, 5000])
def test_packed_messages_both_ways(replica: Replica, coding: grpc.Compression, count: int) -> None:
    sent = np.zeros((count, 4), np.float32)
    with grpc.insecure_channel(replica.grpc, compression=coding) as channel:
        assert (rows(infer_of(channel)(request(sent), timeout=DEADLINE)) == sent).all()


def test_a_coding_that_is_not_known(replica: Replica) -> None:
    with httpx.Client(http1=False, http2=True, base_url=f"http://{replica.authority}", trust_env=False) as client:
        headers = {"content-type": "application/grpc", "grpc-encoding": "br", "te": "trailers"}
        answer = client.post(f"/{codec.SERVICE}/ModelInfer", content=b"\1\0\0\0\1x", headers=headers)
        assert answer.headers["grpc-accept-encoding"] == "identity,deflate,gzip"


def test_messages_over_the_limit(replica: Replica) -> None:
    with grpc.insecure_channel(replica.grpc, options=[("grpc.max_receive_message_length", -1)]) as channel:
        infer = infer_of(channel)
        code, details = status(infer, request(np.zeros((LIMIT // 16 + 1, 4), np.float32)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"over the limit of {LIMIT}" in details
    with grpc.insecure_channel(replica.grpc, compression=grpc.Compression.Gzip) as channel:
        code, _ = status(infer_of(channel), request(np.zeros((LIMIT * 2, 4), np.float32)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, "packed, it is small"


@pytest.mark.parametrize("path", ["/inference.GRPCInferenceService/Nothing", "/no.Service/Infer"])
def test_methods_that_there_are_not(replica: Replica, path: str) -> None:
    with grpc.insecure_channel(replica.grpc) as channel:
        code, details = status(channel.unary_unary(path), b"")
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert path in details


def test_what_is_no_message_of_grpc(replica: Replica) -> None:
    with httpx.Client(http1=False, http2=True, base_url=f"http://{replica.authority}", trust_env=False) as client:
        headers = {"content-type": "application/grpc"}
        for body in (b"", b"\0\0\0", b"\2\0\0\0\0", b"\0\0\0\0\5abc", b"\0\0\0\0\0\0\0\0\0\0"):
            assert client.post(f"/{codec.SERVICE}/ModelInfer", content=body, headers=headers).status_code == 200
        assert client.get("/v2/health/live").json() == {"live": True}


def test_over_http_1_it_is_refused_by_name(replica: Replica) -> None:
    answer = replica.http.post(f"/{codec.SERVICE}/ModelInfer", headers={"content-type": "application/grpc"})
    assert answer.status_code == 415
    assert "HTTP/2" in answer.json()["error"]


def test_the_routes_of_http_over_http_2(replica: Replica) -> None:
    with httpx.Client(http1=False, http2=True, base_url=f"http://{replica.authority}", trust_env=False) as client:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1.0, 2.0]]}
        answer = client.post("/v2/models/m/infer", json={"inputs": [tensor]})
        assert answer.http_version == "HTTP/2"
        assert answer.json()["outputs"][0]["shape"] == [1, 2]
        assert answer.headers["x-rows"] == "1"
        assert client.get("/zz").status_code == 404
        assert "model_ready" in client.get("/metrics").text


def test_health_lists_all(replica: Replica) -> None:
    with grpc.insecure_channel(replica.grpc) as channel:
        listed = channel.unary_unary(
            "/grpc.health.v1.Health/List",
            request_serializer=health_pb2.HealthListRequest.SerializeToString,
            response_deserializer=health_pb2.HealthListResponse.FromString,
        )(health_pb2.HealthListRequest())
        assert set(listed.statuses) == {"", codec.SERVICE, "m"}
        assert {entry.status for entry in listed.statuses.values()} == {health_pb2.HealthCheckResponse.SERVING}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_as_grpcurl_asks(replica: Replica, version: str) -> None:
    asked = reflection_pb2.ServerReflectionRequest
    with grpc.insecure_channel(replica.grpc) as channel:
        ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=asked.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        questions = [
            asked(list_services=""),
            asked(file_containing_symbol="inference.GRPCInferenceService.ModelInfer"),
            asked(file_containing_symbol=f"grpc.reflection.{version}.ServerReflection"),
            asked(file_by_filename="health.proto"),
            asked(file_containing_symbol="no.Such"),
            asked(all_extension_numbers_of_type="inference.ModelInferRequest"),
            asked(file_containing_extension=reflection_pb2.ExtensionRequest(containing_type="x", extension_number=1)),
        ]
        answers = list(ask(iter(questions), timeout=DEADLINE))
    assert [answer.original_request for answer in answers] == questions
    names = {service.name for service in answers[0].list_services_response.service}
    assert {codec.SERVICE, "grpc.health.v1.Health", f"grpc.reflection.{version}.ServerReflection"} <= names
    for answer, text in zip(answers[1:4], (b"ModelInfer", b"ServerReflection", b"Health"), strict=True):
        assert text in b"".join(answer.file_descriptor_response.file_descriptor_proto)
    assert answers[4].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert answers[5].all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"
    assert answers[6].HasField("error_response")


def test_streams_that_clients_keep_open_do_not_hold_up_the_end(start: Start) -> None:
    replica = start("--model-name", "m", code=CODE).ready()
    with grpc.insecure_channel(replica.grpc) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(service="m"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        questions: SimpleQueue[bytes] = SimpleQueue()
        questions.put(reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString())
        reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        stream = reflection(iter(questions.get, b"the end"))
        assert b"GRPCInferenceService" in next(stream)
        replica.signal(signal.SIGTERM)
        assert [answer.status for answer in watch] == [health_pb2.HealthCheckResponse.NOT_SERVING]
        assert list(stream) == []
        questions.put(b"the end")
        assert replica.wait() == 0
