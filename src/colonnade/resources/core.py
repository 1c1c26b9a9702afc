"""The part of Kubernetes' core kinds that clients of Colonnade meet: Namespace, Pod, Event, ConfigMap, Secret."""

from __future__ import annotations

from typing import Annotated, Any

from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, RUNS, Resource, field_doc
from colonnade.resources.meta import Int32, ObjectMeta

_STORED = "kept; replicas read it by env.valueFrom and envFrom"
_MACHINE = "made by the control plane and read-only: `colonnade up --cpu --memory --gpus` set what may be claimed"
_MADE_HERE = "made by the control plane and read-only: apply the InferenceService instead"


class Namespace(Resource, frozen=True):
    """A scope for names."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[dict[str, Any] | None, field_doc("Finalizers of the namespace.", EMULATED, "kept")] = None
    status: Annotated[
        dict[str, Any] | None, field_doc("Phase of the namespace.", EMULATED, "written by the control plane")
    ] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "Namespace"


class Pod(Resource, frozen=True):
    """A replica of a service, in the shape of a pod."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[dict[str, Any] | None, field_doc("What runs.", CLUSTER_ONLY, _MADE_HERE)] = None
    status: Annotated[dict[str, Any] | None, field_doc("How it fares.", CLUSTER_ONLY, _MADE_HERE)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", CLUSTER_ONLY, _MADE_HERE)] = "Pod"


class Node(Resource, frozen=True):
    """This machine, with what replicas may claim of it."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[dict[str, Any] | None, field_doc("Nothing is set.", CLUSTER_ONLY, _MACHINE)] = None
    status: Annotated[
        dict[str, Any] | None,
        field_doc("`capacity`, `allocatable`, and in `requested` what is claimed now.", CLUSTER_ONLY, _MACHINE),
    ] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", CLUSTER_ONLY, _MACHINE)] = "Node"


class ObjectReference(Resource, frozen=True):
    """Points at an object."""

    api_version: Annotated[str | None, field_doc("API version of the object.")] = None
    kind: Annotated[str | None, field_doc("Kind of the object.")] = None
    name: Annotated[str | None, field_doc("Name of the object.")] = None
    namespace: Annotated[str | None, field_doc("Namespace of the object.")] = None
    uid: Annotated[str | None, field_doc("UID of the object.")] = None
    resource_version: Annotated[str | None, field_doc("Version of the object.")] = None
    field_path: Annotated[str | None, field_doc("Part of the object.")] = None


class EventSource(Resource, frozen=True):
    """Who reported an event."""

    component: Annotated[str | None, field_doc("The component.")] = None
    host: Annotated[str | None, field_doc("The machine.")] = None


class Event(Resource, frozen=True):
    """Something that happened to an object."""

    metadata: Annotated[ObjectMeta, field_doc("Name and namespace.")]
    involved_object: Annotated[ObjectReference | None, field_doc("The object.", CLUSTER_ONLY, _MADE_HERE)] = None
    reason: Annotated[str | None, field_doc("CamelCase cause.", CLUSTER_ONLY, _MADE_HERE)] = None
    message: Annotated[str | None, field_doc("What happened.", CLUSTER_ONLY, _MADE_HERE)] = None
    type: Annotated[str | None, field_doc("`Normal` or `Warning`.", CLUSTER_ONLY, _MADE_HERE)] = None
    source: Annotated[EventSource | None, field_doc("Who reported it.", CLUSTER_ONLY, _MADE_HERE)] = None
    first_timestamp: Annotated[str | None, field_doc("When it first happened.", CLUSTER_ONLY, _MADE_HERE)] = None
    last_timestamp: Annotated[str | None, field_doc("When it last happened.", CLUSTER_ONLY, _MADE_HERE)] = None
    count: Annotated[Int32 | None, field_doc("How often it happened.", CLUSTER_ONLY, _MADE_HERE)] = None
    event_time: Annotated[str | None, field_doc("When it happened, exactly.", CLUSTER_ONLY, _MADE_HERE)] = None
    series: Annotated[dict[str, Any] | None, field_doc("Repetitions.", CLUSTER_ONLY, _MADE_HERE)] = None
    action: Annotated[str | None, field_doc("What was done.", CLUSTER_ONLY, _MADE_HERE)] = None
    related: Annotated[ObjectReference | None, field_doc("A second object.", CLUSTER_ONLY, _MADE_HERE)] = None
    reporting_component: Annotated[str | None, field_doc("The controller.", CLUSTER_ONLY, _MADE_HERE)] = None
    reporting_instance: Annotated[str | None, field_doc("Its instance.", CLUSTER_ONLY, _MADE_HERE)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", CLUSTER_ONLY, _MADE_HERE)] = "Event"


class ConfigMap(Resource, frozen=True):
    """Settings as keys and values."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    data: Annotated[dict[str, str] | None, field_doc("Values as text.", RUNS, _STORED)] = None
    binary_data: Annotated[dict[str, str] | None, field_doc("Values as base64.", RUNS, _STORED)] = None
    immutable: Annotated[bool | None, field_doc("Whether changes are refused.", EMULATED, "kept, not enforced")] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "ConfigMap"


class Secret(Resource, frozen=True):
    """Secret values; tools never print them."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    type: Annotated[str | None, field_doc("Use of the secret.", RUNS)] = None
    data: Annotated[dict[str, str] | None, field_doc("Values as base64.", RUNS, _STORED, hidden=True)] = None
    string_data: Annotated[
        dict[str, str] | None, field_doc("Values as text; moved to `data` on write.", RUNS, _STORED, hidden=True)
    ] = None
    immutable: Annotated[bool | None, field_doc("Whether changes are refused.", EMULATED, "kept, not enforced")] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "Secret"


class ControllerRevision(Resource, frozen=True):
    """An earlier or the present state of a component of a service."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    revision: Annotated[int, field_doc("Its number, counted from 1.", CLUSTER_ONLY, _MADE_HERE)]
    data: Annotated[dict[str, Any] | None, field_doc("The component's template.", CLUSTER_ONLY, _MADE_HERE)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "apps/v1"
    kind: Annotated[str, field_doc("Kind of the object.", CLUSTER_ONLY, _MADE_HERE)] = "ControllerRevision"
