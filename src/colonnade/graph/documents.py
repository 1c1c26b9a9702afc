"""The JSON of requests and answers, as far as a graph has to look into it. Pure.

What is passed on is passed on byte for byte: an Ensemble puts the bodies of its steps together without decoding their
numbers, so that none is rounded.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.encode


def is_object(body: bytes) -> bool:
    """Whether a body is a JSON object, or null, which KServe takes for one."""
    try:
        _members.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.strip() == b"null"
    return True


def merged(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """`{name: body}` of bodies that are JSON."""
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(name), body.strip()) for name, body in parts)


def instances_of(body: bytes) -> bytes:
    """A body with `predictions` as one with `instances`; any other body as it is."""
    try:
        predictions = _members.decode(body).get("predictions")
        if predictions is None or not _items.decode(predictions):
            return body
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    return b'{"instances":%b}' % bytes(predictions)
