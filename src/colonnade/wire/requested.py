"""Which outputs a caller asked for, the same for JSON and gRPC."""

from __future__ import annotations

from colonnade.errors import InvalidInput
from colonnade.wire.tensors import InferRequest, InferResponse, Parameters, Tensor


def requested(response: InferResponse, request: InferRequest) -> list[tuple[Tensor, Parameters | None]]:
    """The outputs to send, each with the parameters it was asked with: all of them if the request names none.

    Raises:
        InvalidInput: the request names an output that the model does not have.
    """
    if not request.outputs:
        return [(tensor, None) for tensor in response.outputs]
    pairs: list[tuple[Tensor, Parameters | None]] = []
    by_name = {tensor.name: tensor for tensor in response.outputs}
    for wanted in request.outputs:
        found = by_name.get(wanted.name)
        if found is None:
            names = ", ".join(f'"{name}"' for name in by_name)
            raise InvalidInput(f'Requested output "{wanted.name}" does not exist; the model\'s outputs are {names}')
        pairs.append((found, wanted.parameters))
    return pairs
