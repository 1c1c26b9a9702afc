"""CloudEvents over HTTP: an event in asks for an event out, in the same mode.

Binary mode carries the attributes as `ce-*` headers and the data as the body; structured mode carries both in one JSON
document. Sources: CloudEvents HTTP Protocol Binding 1.0.2 sections 3.1 and 3.2; the attributes of the answer and the
environment variables CE_MERGE, CE_TYPE and CE_SOURCE are KServe's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote

import msgspec

from colonnade.errors import InvalidInput, UnsupportedMediaType

Body = bytes | bytearray | memoryview

STRUCTURED = b"application/cloudevents+json"
_BATCH = b"application/cloudevents-batch+json"
_REQUIRED = ("id", "source", "type")
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True)
class Event:
    """One event that came in.

    Attributes:
        attributes: context attributes and extensions, names in lower case, without `data`.
        structured: whether attributes and data came in one JSON document.
        data: the event's data as JSON text.
    """

    attributes: dict[str, str]
    structured: bool
    data: Body


def read(headers: Mapping[bytes, bytes], body: Body) -> Event | None:
    """The event that a request carries, or None if it is a plain request.

    Raises:
        InvalidInput: a required attribute is missing, or a structured event is no JSON object.
        UnsupportedMediaType: a batch of events.
    """
    content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type == STRUCTURED:
        return _structured(body)
    if content_type == _BATCH:
        raise UnsupportedMediaType("batches of CloudEvents are not supported; send one event per request")
    if b"ce-specversion" not in headers:
        return None
    attributes = {
        name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    _check(attributes)
    return Event(attributes, False, body)


def answer(
    event: Event, model_name: str, body: bytes, *, identity: str, now: datetime, env: Mapping[str, str]
) -> tuple[list[tuple[bytes, bytes]], bytes, bytes]:
    """The event that answers `event`.

    Args:
        event: the event that asked.
        model_name: name of the model that answered.
        body: the answer as JSON text.
        identity: the new event's id.
        now: the new event's time, with time zone.
        env: CE_MERGE `true` keeps the asking event's attributes; CE_TYPE and CE_SOURCE replace the defaults.

    Returns:
        `(headers, content type, body)`.
    """
    attributes = dict(event.attributes) if env.get("CE_MERGE", "false").lower() == "true" else {}
    attributes.pop("datacontenttype", None)
    attributes |= {
        "specversion": "1.0",
        "id": identity,
        "source": env.get("CE_SOURCE", f"io.kserve.inference.{model_name}"),
        "type": env.get("CE_TYPE", "io.kserve.inference.response"),
        "time": now.isoformat(),
    }
    if event.structured:
        document: dict[str, object] = {**attributes, "datacontenttype": "application/json", "data": msgspec.Raw(body)}
        return [], STRUCTURED, msgspec.json.encode(document)
    headers = [(f"ce-{name}".encode("latin-1"), _header(value)) for name, value in attributes.items()]
    return headers, b"application/json", body


def _structured(body: Body) -> Event:
    try:
        document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        data = document.pop("data", None)
        attributes = {
            name.lower(): value if isinstance(value, str) else str(value)
            for name, raw in document.items()
            if (value := msgspec.json.decode(raw)) is not None
        }
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"Cloud Event Exceptions: the structured event is not a JSON object: {error}") from None
    _check(attributes)
    if data is None:
        raise InvalidInput('Cloud Event Exceptions: the structured event has no "data"; send the request in it as JSON')
    return Event(attributes, True, memoryview(data))


def _check(attributes: Mapping[str, str]) -> None:
    missing = [name for name in ("specversion", *_REQUIRED) if not attributes.get(name)]
    if missing:
        raise InvalidInput(f"Cloud Event Exceptions: required attributes are missing: {', '.join(missing)}")
    version = attributes["specversion"]
    if version not in ("1.0", "0.3"):
        raise InvalidInput(f"Cloud Event Exceptions: specversion {version} is not supported; send 1.0")


def _header(value: str) -> bytes:
    """A header value with everything percent-encoded that the binding does not allow bare (section 3.1.3.2)."""
    return quote(value, safe=_PRINTABLE).encode("ascii")
