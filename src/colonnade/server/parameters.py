"""Parameters of a V2 request that are for the server: it takes them out, and the model does not see them."""

from __future__ import annotations

from time import monotonic

from colonnade.net import deadlines
from colonnade.wire.tensors import InferRequest

ENDS = "triton_enable_empty_final_response"


def deadline(request: InferRequest, until: float | None) -> float | None:
    """The earlier of `until` and the end of the time that the parameter `timeout` allows (monotonic seconds).

    Raises:
        InvalidInput: the parameter is no time.
    """
    seconds = deadlines.of_parameter(_taken(request, deadlines.PARAMETER))
    return until if seconds is None else deadlines.earlier(until, monotonic() + seconds)


def wants_end(request: InferRequest) -> bool:
    """Whether the last part of an answer in parts shall be followed by an empty one that says so, as Triton's clients
    ask for it."""
    return _taken(request, ENDS) is True


def _taken(request: InferRequest, name: str) -> object:
    parameters = request.parameters
    if not parameters or name not in parameters:
        return None
    value = parameters.pop(name)
    if not parameters:
        request.parameters = None
    return value
