"""InferenceGraph: a route over several services, in nodes of steps. KServe's v1alpha1 schema, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from colonnade import defaults
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, RUNS, Resource, Ruling, field_doc
from colonnade.resources.meta import Condition, Int32, Int64, ObjectMeta
from colonnade.resources.podspec import FreeObject, Quantity, Toleration
from colonnade.resources.strict import invalid, type_errors_of

API_VERSION = "serving.kserve.io/v1alpha1"
KIND = "InferenceGraph"
ROOT = "root"

REQUEST, RESPONSE = "$request", "$response"

_NO_ROUTER = "recorded; the gateway itself runs the graph, so there is no router to place, to size or to scale"


def url_failure(url: str) -> str | None:
    """Why nothing can be asked at a URL, or None."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        secret = "@" in parts.netloc
    except ValueError:
        usable = secret = False
    if secret:
        return "a URL with credentials is not used, as everybody who may read the graph would read them"
    if not usable or not url.isascii() or not url.isprintable() or any(letter in url for letter in ' {}<>"\\^`|'):
        return f"{url!r} is not a URL such as http://host:port/path; write one without placeholders"
    return None


def _data(value: Any, step: Mapping[str, Any]) -> Ruling:
    if value in (REQUEST, RESPONSE):
        return Ruling(RUNS)
    return Ruling(EMULATED, f"means {REQUEST}, as in KServe; write {REQUEST} or {RESPONSE}")


def _service_url(value: Any, step: Mapping[str, Any]) -> Ruling:
    failure = url_failure(value) if isinstance(value, str) else None
    if failure is not None:
        return Ruling(CLUSTER_ONLY, f"the graph is not ready: {failure}")
    return Ruling(RUNS, "a host of a service here is asked without leaving the gateway")


class InferenceStep(Resource, frozen=True):
    """One step of a node: what is asked, with what, and when."""

    name: Annotated[str | None, field_doc("Name of the step, unique in its node.", RUNS)] = None
    node_name: Annotated[str | None, field_doc("Another node of the graph.", RUNS)] = None
    service_name: Annotated[str | None, field_doc("An InferenceService of the same namespace.", RUNS)] = None
    service_url: Annotated[str | None, field_doc("The URL of any HTTP service.", rule=_service_url)] = None
    data: Annotated[
        str | None,
        field_doc(
            "What a step of a Sequence gets: `$request`, what its node got, or `$response`, the answer before it.",
            rule=_data,
        ),
    ] = None
    weight: Annotated[Int64 | None, field_doc("Percent of the requests of a Splitter.", RUNS)] = None
    condition: Annotated[
        str | None,
        field_doc("GJSON path that must find something: in the input (Switch), in the answer before (Sequence).", RUNS),
    ] = None
    dependency: Annotated[
        Literal["Soft", "Hard"] | None, field_doc("Whether a failure of the step is one of its node.", RUNS)
    ] = None
    map_predictions_to_instances: Annotated[
        bool | None, field_doc("Whether `predictions` in the step's input become `instances`.", RUNS)
    ] = None


class InferenceRouter(Resource, frozen=True):
    """A node: its steps, and how they are gone through."""

    router_type: Annotated[
        Literal["Sequence", "Splitter", "Ensemble", "Switch"], field_doc("How the steps are gone through.", RUNS)
    ]
    steps: Annotated[list[InferenceStep] | None, field_doc("The steps, in order.")] = None


class RouterTimeouts(Resource, frozen=True):
    """Limits of the router, in seconds."""

    server_read: Annotated[
        Int64 | None,
        field_doc(
            "For the request to come in.",
            EMULATED,
            f"recorded; the gateway's limit for all requests holds: {defaults.READ_TIMEOUT:g} s without progress",
        ),
    ] = None
    server_write: Annotated[
        Int64 | None,
        field_doc("From the request to the end of its answer.", RUNS, "without it there is no such limit"),
    ] = None
    server_idle: Annotated[
        Int64 | None,
        field_doc(
            "For an unused connection.",
            EMULATED,
            f"recorded; the gateway's limit for all connections holds: {defaults.IDLE_TIMEOUT:g} s",
        ),
    ] = None
    service_client: Annotated[Int64 | None, field_doc("For each call of a step.", RUNS)] = None


class RouterResources(Resource, frozen=True):
    """Compute of the router, which is not one here."""

    requests: Annotated[dict[str, Quantity] | None, field_doc("Least amounts.", EMULATED, _NO_ROUTER)] = None
    limits: Annotated[dict[str, Quantity] | None, field_doc("Greatest amounts.", EMULATED, _NO_ROUTER)] = None
    claims: Annotated[list[FreeObject] | None, field_doc("Devices by claim.", EMULATED, _NO_ROUTER)] = None


class InferenceGraphSpec(Resource, frozen=True):
    """The nodes, of which `root` is the first one, and how the router is run."""

    nodes: Annotated[dict[str, InferenceRouter], field_doc("Nodes by name; `root` gets the request.")]
    timeout: Annotated[Int64 | None, field_doc("Limit of one request, in seconds.", RUNS, "kept by the gateway")] = None
    router_timeouts: Annotated[RouterTimeouts | None, field_doc("Limits of the router.")] = None
    resources: Annotated[RouterResources | None, field_doc("Compute of the router.", EMULATED, _NO_ROUTER)] = None
    affinity: Annotated[FreeObject | None, field_doc("Placement rules.", EMULATED, _NO_ROUTER)] = None
    min_replicas: Annotated[Int32 | None, field_doc("Least number of routers.", EMULATED, _NO_ROUTER)] = None
    max_replicas: Annotated[Int32 | None, field_doc("Greatest number of routers.", EMULATED, _NO_ROUTER)] = None
    scale_target: Annotated[Int32 | None, field_doc("Target of scaleMetric.", EMULATED, _NO_ROUTER)] = None
    scale_metric: Annotated[
        Literal["cpu", "memory", "concurrency", "rps"] | None,
        field_doc("Metric to scale by.", EMULATED, _NO_ROUTER),
    ] = None
    tolerations: Annotated[list[Toleration] | None, field_doc("Taints to put up with.", EMULATED, _NO_ROUTER)] = None
    node_selector: Annotated[dict[str, str] | None, field_doc("Labels of nodes that fit.", EMULATED, _NO_ROUTER)] = None
    node_name: Annotated[str | None, field_doc("The node to run on.", EMULATED, _NO_ROUTER)] = None
    service_account_name: Annotated[str | None, field_doc("Identity in the cluster.", EMULATED, _NO_ROUTER)] = None


class InferenceGraphStatus(Resource, frozen=True):
    """Where the graph is served, and how it fares."""

    url: Annotated[str | None, field_doc("URL of the graph.")] = None
    conditions: Annotated[list[Condition] | None, field_doc("Observations, such as Ready.")] = None
    deployment_mode: Annotated[str | None, field_doc("`Standard` or `Knative`.")] = None
    observed_generation: Annotated[Int64 | None, field_doc("Generation that the status is about.")] = None
    annotations: Annotated[dict[str, str] | None, field_doc("Further facts.")] = None


class InferenceGraph(Resource, frozen=True):
    """A route over several services."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    spec: Annotated[InferenceGraphSpec, field_doc("Nodes and steps.")]
    status: Annotated[
        InferenceGraphStatus | None,
        field_doc("What is served.", EMULATED, "written by the control plane; passed over in a manifest"),
    ] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = API_VERSION
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = KIND


def parse(obj: Mapping[str, Any]) -> InferenceGraph:
    """The typed view of an InferenceGraph; unknown fields are passed over.

    Raises:
        Invalid: a field has the wrong type or a required one is missing; `causes` names each with its path.
    """
    causes = type_errors_of(InferenceGraph, obj)
    if causes:
        raise invalid(obj, causes)
    return msgspec.convert(obj, InferenceGraph)
