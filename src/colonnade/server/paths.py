"""What a URL path asks for: a pure parser of every route that a replica has.

The hot routes are found in a dictionary of raw path bytes before this parser is asked (see `routes`), so it may take
its time: it decodes percent-encoding segment by segment, so that a model's name may hold any character. Sources:
KServe's V1, the Open Inference Protocol (V2), and Triton's model repository extension.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

GET = b"GET"
POST = b"POST"


class Operation(Enum):
    """Everything that a path can ask for."""

    ALIVE = auto()
    METRICS = auto()
    V1_MODELS = auto()
    V1_MODEL = auto()
    V1_PREDICT = auto()
    V1_EXPLAIN = auto()
    V2_SERVER = auto()
    V2_LIVE = auto()
    V2_READY = auto()
    V2_MODELS = auto()
    V2_MODEL = auto()
    V2_MODEL_READY = auto()
    V2_MODEL_COMPILE = auto()
    V2_INFER = auto()
    V2_INFER_STREAM = auto()
    V2_INDEX = auto()
    V2_LOAD = auto()
    V2_UNLOAD = auto()

    @property
    def method(self) -> bytes:
        """The one method that the operation takes; where it is GET, HEAD too."""
        return POST if self in _POST else GET


_POST = {
    Operation.V1_PREDICT,
    Operation.V1_EXPLAIN,
    Operation.V2_INFER,
    Operation.V2_INFER_STREAM,
    Operation.V2_INDEX,
    Operation.V2_LOAD,
    Operation.V2_UNLOAD,
}

_FIXED = {
    (): Operation.ALIVE,
    ("metrics",): Operation.METRICS,
    ("v1", "models"): Operation.V1_MODELS,
    ("v2",): Operation.V2_SERVER,
    ("v2", "health", "live"): Operation.V2_LIVE,
    ("v2", "health", "ready"): Operation.V2_READY,
    ("v2", "models"): Operation.V2_MODELS,
    ("v2", "repository", "index"): Operation.V2_INDEX,
}
_V1_VERBS = {"predict": Operation.V1_PREDICT, "explain": Operation.V1_EXPLAIN}
_V2_MODEL = {
    (): Operation.V2_MODEL,
    ("ready",): Operation.V2_MODEL_READY,
    ("infer",): Operation.V2_INFER,
    ("infer_stream",): Operation.V2_INFER_STREAM,
    ("compile",): Operation.V2_MODEL_COMPILE,
}
_V2_REPOSITORY = {"load": Operation.V2_LOAD, "unload": Operation.V2_UNLOAD}


@dataclass(frozen=True)
class Target:
    """What a path asks for, of which model and version; `version` is None where the path names none."""

    operation: Operation
    model: str = ""
    version: str | None = None


def parse(path: bytes) -> Target | None:
    """The target of a raw path, or None if no route fits. A slash at the end makes no difference."""
    try:
        parts = tuple(unquote_to_bytes(part).decode() for part in path.removesuffix(b"/").split(b"/")[1:])
    except UnicodeDecodeError:
        return None
    fixed = _FIXED.get(parts)
    if fixed is not None:
        return Target(fixed)
    match parts:
        case ("v1", "models", last) if last:
            model, _, verb = last.rpartition(":")
            operation = _V1_VERBS.get(verb)
            return Target(Operation.V1_MODEL, last) if operation is None or not model else Target(operation, model)
        case ("v2", "models", model, "versions", version, *rest) if model and version:
            operation = _V2_MODEL.get(tuple(rest))
            return None if operation is None else Target(operation, model, version)
        case ("v2", "models", model, *rest) if model:
            operation = _V2_MODEL.get(tuple(rest))
            return None if operation is None else Target(operation, model)
        case ("v2", "repository", "models", model, verb) if model:
            operation = _V2_REPOSITORY.get(verb)
            return None if operation is None else Target(operation, model)
    return None
