"""KServe's V1 over HTTP: predict and explain, as plain JSON, as CloudEvents, or as a stream of parts.

Source: KServe. What a model returns is answered as it is: a dictionary as JSON, bytes and text
as themselves, an async iterator part by part as it comes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from colonnade.model.binding import Operation
from colonnade.server import cloudevents, v1answers
from colonnade.server.call import Body, HttpCall
from colonnade.server.execution import Ticket
from colonnade.server.identity import new_id
from colonnade.wire import v1 as codec
from colonnade.wire import v2

# Bodies of these types are JSON whatever else they could be: `curl -d` sends the form type, others send none.
_JSON_TYPES = frozenset({b"", b"application/json", b"application/x-www-form-urlencoded"})


class V1Call(HttpCall):
    """`POST /v1/models/{m}:predict`."""

    protocol = "v1"

    __slots__ = ("_event",)

    _event: cloudevents.Event | None

    def start(self, body: Body) -> Ticket | None:
        headers = self.exchange.headers
        self._event = event = cloudevents.read(headers, body)
        if event is not None:
            payload: Any = codec.decode(event.data)
        elif _is_json(headers.get(b"content-type", b"")) or not self.execution.takes_bytes:
            payload = self.decoded(body)
        else:
            payload = bytes(body)
        return self.run(self.operation, payload, len(body))

    @property
    def operation(self) -> Operation:
        """What the path asks for."""
        return self.execution.predict

    def decoded(self, body: Body) -> Any:
        """The payload in a body of JSON."""
        return codec.decode(body, arrays=self.execution.takes_arrays)

    def write(self, result: Any) -> None:
        parts = v1answers.parts_of(result)
        if parts is not None:
            self.stream(parts, v1answers.encode_part)
            return
        body, content_type = v1answers.encode(result)
        if self._event is None:
            self.answer([body], content_type)
            return
        headers, content_type, body = cloudevents.answer(
            self._event, self.hosted.name, body, identity=new_id(), now=datetime.now(UTC), env=os.environ
        )
        self.answer([body], content_type, headers)


class V1ExplainCall(V1Call):
    """`POST /v1/models/{m}:explain`. V2 has no such call, so its requests are taken here, too."""

    __slots__ = ()

    def decoded(self, body: Body) -> Any:
        """V1's payload, or a V2 request: its `inputs` are objects with a datatype."""
        payload = super().decoded(body)
        inputs = payload.get("inputs")
        if isinstance(inputs, list) and inputs and all(isinstance(one, dict) and "datatype" in one for one in inputs):
            return v2.decode(body, None, self.hosted.name)
        return payload

    @property
    def operation(self) -> Operation:
        """What the path asks for."""
        return self.execution.explain


def _is_json(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type in _JSON_TYPES or media_type.endswith((b"/json", b"+json"))
