"""An event as a row of a file, in three formats that hold the same columns. Pure.

The columns are the fields of KServe's records; those that it has not got come behind them. A body that is text is in
`bytes` as it is, so that a query can look into it; any other is there in base64, and `bytesEncoding` says which.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from colonnade.errors import Unavailable
from colonnade.gateway.payloads.events import RESPONSE, Event, text, timestamp
from colonnade.gateway.payloads.settings import Format


class Row(msgspec.Struct, frozen=True, rename="camel"):
    """One event. `url` is the path that was asked for; times are RFC 3339."""

    url: str
    bytes: str
    content_type: str
    req_type: str
    id: str
    source_uri: str
    inference_service: str
    namespace: str
    endpoint: str
    component: str
    metadata: dict[str, list[str]]
    annotations: dict[str, str]
    occurrence_time: str
    recorded_time: str
    request_id: str
    revision: str
    status: int | None
    grpc_status: str | None
    seconds: float | None
    size: int
    bytes_encoding: str
    content_encoding: str
    truncated: bool
    withheld: bool


COLUMNS = tuple(field.encode_name for field in msgspec.structs.fields(Row))


def row(event: Event, recorded: datetime) -> Row:
    """The row of an event."""
    answered = event.kind == RESPONSE
    try:
        body, encoding = event.body.decode(), "utf-8"
        if "\x00" in body:  # of binary tensors: legal, and no text
            raise ValueError
    except ValueError:
        body, encoding = base64.b64encode(event.body).decode(), "base64"
    return Row(
        url=event.path,
        bytes=body,
        content_type=event.content_type,
        req_type=event.kind,
        id=event.identity,
        source_uri=event.source,
        inference_service=event.origin.service,
        namespace=event.origin.namespace,
        endpoint=event.endpoint,
        component=event.origin.component,
        metadata=event.metadata,
        annotations=event.annotations,
        occurrence_time=timestamp(event.time),
        recorded_time=timestamp(recorded),
        request_id=event.request_id,
        revision=event.revision,
        status=event.status if answered else None,
        grpc_status=(event.code or None) if answered else None,
        seconds=event.seconds if answered else None,
        size=event.size,
        bytes_encoding=encoding,
        content_encoding=event.encoding,
        truncated=event.truncated,
        withheld=event.withheld,
    )


def as_json(lines: Sequence[bytes]) -> bytes:
    """One row a line."""
    return b"".join(line + b"\n" for line in lines)


def as_csv(lines: Sequence[bytes]) -> bytes:
    """RFC 4180 with a head; maps are JSON."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(_flat(line) for line in lines)
    return out.getvalue().encode()


def as_parquet(lines: Sequence[bytes]) -> bytes:
    """Columns by their types, packed; maps are JSON, times are timestamps.

    Raises:
        Unavailable: `pyarrow` is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unavailable("Parquet files need the extra: pip install 'colonnade[parquet]'; or use json") from None
    types = {"status": pa.int32(), "seconds": pa.float64(), "size": pa.int64()}
    types |= dict.fromkeys(("truncated", "withheld"), pa.bool_())
    moments = {"occurrenceTime", "recordedTime"}
    rows = [_flat(line) for line in lines]
    columns = {}
    for name in COLUMNS:
        values = [found[name] for found in rows]
        if name in moments:
            columns[name] = pa.array(map(datetime.fromisoformat, values), pa.timestamp("us", "UTC"))
        else:
            columns[name] = pa.array(values, types.get(name, pa.string()))
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


ENCODE: Mapping[Format, Callable[[Sequence[bytes]], bytes]] = {
    "json": as_json,
    "csv": as_csv,
    "parquet": as_parquet,
}


def _flat(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(line)
    for name in ("metadata", "annotations"):
        found[name] = text(found[name])
    return found
