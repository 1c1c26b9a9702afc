"""Requests and responses as the events that are logged of them. Pure.

The attributes and extensions are those of KServe's logger, under its names; what it has not got has names of its own:
`requestid`, `revision`, `status`, `grpcstatus`, `duration`, `size`, `truncated`, `withheld`. Source of the form:
CloudEvents HTTP Protocol Binding 1.0.2, sections 3.1 and 3.3.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from colonnade.gateway.payloads import redaction
from colonnade.gateway.payloads.messages import Seen
from colonnade.gateway.payloads.redaction import Rules
from colonnade.gateway.payloads.settings import Logging, Origin

REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"
BATCH = "application/cloudevents-batch+json"
_UNKNOWN = "application/octet-stream"


class Event(NamedTuple):
    """One request or response that is logged.

    Attributes:
        kind: `REQUEST` or `RESPONSE`.
        body: after redaction, as much as is logged.
        truncated: there was more.
        withheld: there was a body, and it could not be redacted.
        time: when the request came, or the response was over.
    """

    kind: str
    identity: str
    source: str
    origin: Origin
    endpoint: str
    path: str
    body: bytes
    size: int
    content_type: str
    encoding: str
    truncated: bool
    withheld: bool
    time: datetime
    request_id: str
    revision: str
    status: int
    code: str
    seconds: float
    metadata: dict[str, list[str]]
    annotations: dict[str, str]


def events(seen: Seen, origin: Origin, settings: Logging, rules: Rules) -> Iterator[Event]:
    """What is logged of a request: both events have the same identity."""
    identity = seen.identity or str(uuid4())
    fields: dict[str, list[str]] = {}
    for name, value in redaction.headers(rules, seen.headers):
        fields.setdefault(name, []).append(value)
    for kind, payload, at in (
        (REQUEST, seen.request, seen.at),
        (RESPONSE, seen.response, seen.at + seen.seconds),
    ):
        if payload is None:
            continue
        body = redaction.body(rules, payload)
        yield Event(
            kind,
            identity,
            seen.replica or seen.revision,
            origin,
            settings.endpoint,
            seen.path,
            body or b"",
            payload.size,
            payload.content_type or _UNKNOWN,
            payload.encoding,
            payload.size > len(payload.body),
            body is None,
            datetime.fromtimestamp(at, UTC),
            seen.request_id,
            seen.revision,
            seen.status,
            seen.code,
            seen.seconds,
            fields,
            dict(settings.annotations),
        )


def attributes(event: Event, recorded: datetime) -> dict[str, str]:
    """The context attributes of an event, by name in lower case."""
    found = {
        "specversion": "1.0",
        "type": event.kind,
        "id": event.identity,
        "source": event.source,
        "time": timestamp(event.time),
        "inferenceservicename": event.origin.service,
        "namespace": event.origin.namespace,
        "component": event.origin.component,
        "endpoint": event.endpoint,
        "recordedtime": timestamp(recorded),
        "metadata": text(event.metadata) if event.metadata else "",
        "annotations": text(event.annotations) if event.annotations else "",
        "requestid": event.request_id,
        "revision": event.revision,
        "size": str(event.size),
        "truncated": "true" if event.truncated else "",
        "withheld": "true" if event.withheld else "",
    }
    if event.kind == RESPONSE:
        found |= {"status": str(event.status), "grpcstatus": event.code, "duration": f"{event.seconds:.6f}"}
    return {name: value for name, value in found.items() if value}


def headers(event: Event, recorded: datetime) -> list[tuple[str, str]]:
    """The header fields of an event in binary mode. Its content type is its own: that of the response in one."""
    fields = [(f"ce-{name}", field_value(value)) for name, value in attributes(event, recorded).items()]
    fields.append(("content-type", field_value(event.content_type)))
    if event.encoding:
        fields.append(("content-encoding", field_value(event.encoding)))
    return fields


def document(event: Event, recorded: datetime) -> dict[str, Any]:
    """The event in structured mode, as one of a batch."""
    found: dict[str, Any] = {**attributes(event, recorded), "datacontenttype": event.content_type}
    if event.encoding:
        found["contentencoding"] = event.encoding
    kind = event.content_type.partition(";")[0].strip().lower()
    if (kind == "application/json" or kind.endswith("+json")) and not event.encoding:
        try:
            msgspec.json.decode(event.body)
            return {**found, "data": msgspec.Raw(event.body)}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    return {**found, "data_base64": base64.b64encode(event.body).decode()}


def field_value(value: str) -> str:
    """The value of a field. Percent-encoded is what no header may hold, and `%`.

    The binding asks for that of quotes and spaces too; KServe sends those as they are, and whoever decodes by the
    binding reads them all the same.
    """
    if value.isascii() and value.isprintable() and "%" not in value:
        return value
    return "".join(
        character
        if character.isascii() and character.isprintable() and character != "%"
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        for character in value
    )


def text(value: Mapping[str, Any]) -> str:
    """As JSON."""
    return msgspec.json.encode(value).decode()


def timestamp(moment: datetime) -> str:
    """RFC 3339, with microseconds."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
