"""Whether an object as a whole would run on this machine: the question that no verdict on a field can answer."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from colonnade.control import admission
from colonnade.control.runtimes import builtin
from colonnade.control.runtimes.selection import Runtimes
from colonnade.control.templates import template
from colonnade.control.workload import components
from colonnade.control.workload.sources import PLACEHOLDER, Source
from colonnade.errors import Error, Invalid
from colonnade.resources import defaulting, inferencegraph
from colonnade.resources.kinds import (
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_GRAPH,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    by_kind,
)
from colonnade.resources.served import scheme_of
from colonnade.storage import fetch

RUNTIMES = (SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME)
_FIELD = re.compile(r"(?:spec|metadata)\.[\w.\[\]=-]*[\w\]]")
_FIELDS = {
    "NoSupportingRuntime": "spec.predictor.model.modelFormat",
    "RuntimeNotRecognized": "spec.predictor.model.runtime",
    "RuntimeDisabled": "spec.predictor.model.runtime",
}
"""The field that decided, for the reasons of refusals whose texts are KServe's and name none."""


class Refused(NamedTuple):
    """Why an object is refused, and the field that it is refused for."""

    field: str
    message: str


def invalid(obj: dict[str, Any]) -> Refused | None:
    """Why the API refuses an object; None if it takes it, or if the kind is not served at all."""
    kind = by_kind(obj.get("apiVersion"), obj.get("kind"))
    if kind is None:
        return None
    try:
        admission.admit(kind, obj, None)
    except Invalid as error:
        return Refused(error.causes[0][0] if error.causes else "", error.message)
    except Error as error:
        return Refused("", error.message)
    return None


def refused(obj: dict[str, Any], programs: Collection[str], beside: Collection[dict[str, Any]] = ()) -> Refused | None:
    """Why a valid object would not run on a machine with these model servers; None if it would.

    `beside` are objects that would be applied with it, of which it may need the runtimes.
    """
    kind = by_kind(obj.get("apiVersion"), obj.get("kind"))
    if kind is INFERENCE_GRAPH:
        return _graph(obj)
    return _service(obj, programs, beside) if kind is INFERENCE_SERVICE else None


def _service(obj: dict[str, Any], programs: Collection[str], beside: Collection[dict[str, Any]]) -> Refused | None:
    isvc = defaulting.default(obj)
    runtimes = _runtimes(isvc["metadata"].get("namespace") or "default", programs, beside)
    for component in components.of(isvc):
        planned = template.plan(isvc, component.name, runtimes)
        if isinstance(planned, template.Refusal):
            found = _FIELD.search(planned.message)
            return Refused(found[0] if found else _FIELDS.get(planned.reason, "spec"), planned.message)
        for source in planned.sources:
            try:
                _check(source)
            except Error as error:
                return Refused(f"spec.{component.name}: storageUri", error.message)
    return None


def _runtimes(namespace: str, programs: Collection[str], beside: Collection[dict[str, Any]]) -> Runtimes:
    """What a service may choose from once the objects beside it are applied."""
    given = [obj for obj in beside if by_kind(obj.get("apiVersion"), obj.get("kind")) in RUNTIMES and not invalid(obj)]
    own, cluster = [], {obj["metadata"]["name"]: obj for obj in builtin.objects(programs)}
    for obj in given:
        metadata = obj["metadata"]
        if obj["kind"] == CLUSTER_SERVING_RUNTIME.kind:
            cluster[metadata["name"]] = obj
        elif (metadata.get("namespace") or "default") == namespace:
            own.append({**obj, "metadata": {**metadata, "namespace": namespace}})
    return Runtimes.of(own, cluster.values(), programs)


def _check(source: Source) -> None:
    """Raises what is wrong with the URIs of a source; that of a `storage` block is known with its secret only."""
    for uri in [piece.uri for piece in source.pieces] or [source.uri]:
        if scheme_of(uri) != PLACEHOLDER:
            fetch.check_uri(uri)


def _graph(obj: dict[str, Any]) -> Refused | None:
    graph = inferencegraph.parse(obj)
    for name, node in graph.spec.nodes.items():
        for index, step in enumerate(node.steps or ()):
            failure = inferencegraph.url_failure(step.service_url) if step.service_url else None
            if failure is not None:
                return Refused(f"spec.nodes.{name}.steps[{index}].serviceUrl", failure)
    return None
