"""Reads `grpc-status-details-bin` as clients do: by Google's messages, made here from their definitions."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory

_Field = descriptor_pb2.FieldDescriptorProto


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="rpc.proto", package="google.rpc", syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/duration.proto"])

    def add(message: str, *fields: tuple[str, int, int, str]) -> None:
        entry = file.message_type.add(name=message)
        for number, (name, kind, label, type_name) in enumerate(fields, 1):
            entry.field.add(name=name, number=number, type=kind, label=label, type_name=type_name or None)

    one, many = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
    text = (_Field.TYPE_STRING, one, "")
    details = ("details", _Field.TYPE_MESSAGE, many, ".google.protobuf.Any")
    add("Status", ("code", _Field.TYPE_INT32, one, ""), ("message", *text), details)
    add("RetryInfo", ("retry_delay", _Field.TYPE_MESSAGE, one, ".google.protobuf.Duration"))
    add("ErrorInfo", ("reason", *text), ("domain", *text))
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{name}"))
        for name in ("Status", "RetryInfo", "ErrorInfo")
    }


MESSAGES = _messages()


class Details(NamedTuple):
    """What a failed call carries; `retry_delay` in seconds."""

    code: int
    message: str
    reason: str
    domain: str
    retry_delay: float | None


def details_of(error: grpc.RpcError) -> Details | None:
    """The details of a failed call, None if it carries none. They say the same as its status."""
    found = [value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]
    if not found:
        return None
    (encoded,) = found
    status = MESSAGES["Status"].FromString(encoded)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    by_kind = {entry.type_url.removeprefix("type.googleapis.com/google.rpc."): entry.value for entry in status.details}
    info = MESSAGES["ErrorInfo"].FromString(by_kind.pop("ErrorInfo"))
    delay = None
    if "RetryInfo" in by_kind:
        retry = MESSAGES["RetryInfo"].FromString(by_kind.pop("RetryInfo")).retry_delay
        delay = retry.seconds + retry.nanos / 1e9
    assert not by_kind
    return Details(status.code, status.message, info.reason, info.domain, delay)
