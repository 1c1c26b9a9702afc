"""Reads the model name out of a serialized gRPC request without parsing the request.

The gateway forwards messages as bytes; parsing one of 60 MB to learn a name of ten bytes would cost more than all the
rest. In every request of `inference.GRPCInferenceService` that names a model, the name is field 1, a string (reference
section 2.3), and serializers write fields in the order of their numbers, so it is found at the first byte.
"""

from __future__ import annotations

MAX_FIELDS = 64  # fields looked at before giving up; bounds the work on a message made to be slow


def model_name(message: bytes) -> str | None:
    """The string in the first field 1 of a protobuf message; None if there is none or the bytes are no message.

    Only top-level fields are read (protobuf encoding: tag = number << 3 | wire type, varints little-endian in groups of
    seven bits); sub-messages and tensors are stepped over.
    """
    at = 0
    size = len(message)
    for _ in range(MAX_FIELDS):
        if at >= size:
            return None
        tag, at = _varint(message, at)
        if tag < 0:
            return None
        wire_type = tag & 7
        if wire_type == 2:
            length, at = _varint(message, at)
            end = at + length
            if length < 0 or end > size:
                return None
            if tag >> 3 == 1:
                try:
                    return message[at:end].decode()
                except UnicodeDecodeError:
                    return None
            at = end
        elif wire_type == 0:
            value, at = _varint(message, at)
            if value < 0:
                return None
        elif wire_type == 1:
            at += 8
        elif wire_type == 5:
            at += 4
        else:
            return None
    return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at an offset and the offset after it; -1 if it is cut off or longer than ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return -1, at
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    return -1, at
