"""The model name in front of a serialized request, for real messages and for any bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.peek import MAX_FIELDS, model_name
from colonnade.wire import openinference_pb2 as oip

NAMES = st.text(min_size=1, max_size=50)


@given(NAMES, st.text(max_size=10), st.lists(st.binary(max_size=300), max_size=4), st.booleans())
def test_every_request_that_names_a_model(name: str, version: str, raw: list[bytes], flag: bool) -> None:
    infer = oip.ModelInferRequest(model_name=name, model_version=version, id="7", raw_input_contents=raw)
    infer.parameters["flag"].bool_param = flag
    infer.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    for message in (
        infer,
        oip.ModelReadyRequest(name=name, version=version),
        oip.ModelMetadataRequest(name=name, version=version),
        oip.RepositoryModelLoadRequest(model_name=name),
        oip.RepositoryModelUnloadRequest(model_name=name),
    ):
        assert model_name(message.SerializeToString()) == name


@given(NAMES, st.binary(max_size=20))
def test_fields_may_come_in_any_order(name: str, other: bytes) -> None:
    first = oip.ModelInferRequest(id="x", raw_input_contents=[other]).SerializeToString()
    assert model_name(first + oip.ModelInferRequest(model_name=name).SerializeToString()) == name


def test_messages_without_a_name() -> None:
    assert model_name(b"") is None
    assert model_name(oip.ModelInferRequest(id="x").SerializeToString()) is None
    assert model_name(b"\x0a\x02\xff\xfe") is None, "not UTF-8"
    assert model_name(b"\x0a\x05ab") is None, "cut off"
    assert model_name(b"\x08\x01") is None, "field 1 is a number"
    assert model_name(b"\x12\x00" * (MAX_FIELDS + 1) + b"\x0a\x01a") is None, "work is bounded"
    assert model_name(b"\x80" * 20) is None
    assert model_name(b"\x0b") is None, "a group"


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    name = model_name(data)
    assert name is None or name.encode() in data
