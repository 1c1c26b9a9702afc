"""Holds a loaded model against the requests of its `golden.json`, before it is ready.

A case goes the way of a client's request from the decoded body on: through checks, batches and hooks to the encoded
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from colonnade.model.results import whole
from colonnade.runtimes.golden import Case
from colonnade.server import golden_answers, v1answers
from colonnade.server.batch import Call
from colonnade.server.execution import Execution
from colonnade.wire import v1, v2
from colonnade.wire.requested import requested
from colonnade.wire.tensors import InferRequest, InferResponse


class _GoldenCall(Call):
    """A call that nobody made over a network."""

    __slots__ = ("_filled", "outcome")

    def __init__(self, outcome: asyncio.Future[Any]) -> None:
        super().__init__()
        self.outcome = outcome
        self._filled: dict[str, str] = {}

    def settle(self, result: Any, error: Exception | None) -> None:
        if self.outcome.done():
            return
        if error is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(error)

    @property
    def request_headers(self) -> Mapping[str, str]:
        return {}

    @property
    def response_headers(self) -> dict[str, str]:
        return self._filled


async def check(cases: Sequence[Case], execution: Execution, name: str) -> None:
    """Runs every case, one after the other.

    Raises:
        LoadFailed: see `golden_answers.check`.
    """

    async def ask(case: Case) -> Any:
        if not case.v2:
            return await _predict(case, execution)
        request, response = await _infer(case, execution, name)
        return [tensor for tensor, _ in requested(response, request)]

    await golden_answers.check(cases, ask, name)


async def _infer(case: Case, execution: Execution, name: str) -> tuple[InferRequest, InferResponse]:
    request = v2.decode(case.request, None, name, execution.version)
    response = whole(await _outcome(execution, execution.infer, request, len(case.request)), name)
    v2.encode(response, request)  # what cannot be written is no answer
    return request, response


async def _predict(case: Case, execution: Execution) -> Any:
    payload = v1.decode(case.request, arrays=execution.takes_arrays)
    result = await _outcome(execution, execution.predict, payload, len(case.request))
    parts = v1answers.parts_of(result)
    if parts is not None:
        return b"".join([v1answers.encode_part(part) async for part in parts]).decode(errors="replace")
    body, _ = v1answers.encode(result)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")


async def _outcome(execution: Execution, operation: Any, payload: Any, size: int) -> Any:
    call = _GoldenCall(asyncio.get_running_loop().create_future())
    execution.start(call, operation, payload, size)
    return await call.outcome
