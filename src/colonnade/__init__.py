"""Colonnade: from a trained model to a durable service.

What a model's author needs, re-exported. Each name is imported when it is first used, so that `import colonnade` costs
nothing and a name never pulls in more than it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from colonnade.version import __version__

if TYPE_CHECKING:
    from colonnade.errors import InferenceError, InvalidInput
    from colonnade.model.contract import Model
    from colonnade.server.main import serve
    from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor, TensorSpec

__all__ = [
    "InferRequest",
    "InferResponse",
    "InferenceError",
    "InvalidInput",
    "Model",
    "RequestedOutput",
    "Tensor",
    "TensorSpec",
    "__version__",
    "serve",
]

_HOMES = {
    "InferenceError": "colonnade.errors",
    "InvalidInput": "colonnade.errors",
    "InferRequest": "colonnade.wire.tensors",
    "InferResponse": "colonnade.wire.tensors",
    "Model": "colonnade.model.contract",
    "RequestedOutput": "colonnade.wire.tensors",
    "Tensor": "colonnade.wire.tensors",
    "TensorSpec": "colonnade.wire.tensors",
    "serve": "colonnade.server.main",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
