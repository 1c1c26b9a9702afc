"""The status of an InferenceService, in the shape that KServe's clients read."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonnade.resources.fields import Resource, field_doc
from colonnade.resources.meta import Condition, Int32, Int64


class Address(Resource, frozen=True):
    """An address inside the cluster."""

    url: Annotated[str | None, field_doc("URL to ask.")] = None
    name: Annotated[str | None, field_doc("Name of the address.")] = None
    audience: Annotated[str | None, field_doc("Audience of tokens.")] = None
    ca_certs: Annotated[str | None, field_doc("Certificates to trust.")] = msgspec.field(default=None, name="CACerts")


class TrafficTarget(Resource, frozen=True):
    """The share of a revision."""

    revision_name: Annotated[str | None, field_doc("Name of the revision.")] = None
    configuration_name: Annotated[str | None, field_doc("Name of the configuration.")] = None
    latest_revision: Annotated[bool | None, field_doc("Whether it is the latest ready one.")] = None
    percent: Annotated[Int64 | None, field_doc("Percent of traffic.")] = None
    tag: Annotated[str | None, field_doc("`latest` or `prev`.")] = None
    url: Annotated[str | None, field_doc("URL of this revision alone.")] = None


class ComponentStatus(Resource, frozen=True):
    """The state of a component."""

    url: Annotated[str | None, field_doc("URL of the component.")] = None
    rest_url: Annotated[str | None, field_doc("URL of its HTTP endpoint.")] = None
    grpc_url: Annotated[str | None, field_doc("URL of its gRPC endpoint.")] = None
    address: Annotated[Address | None, field_doc("Address inside the cluster.")] = None
    latest_ready_revision: Annotated[str | None, field_doc("Latest revision that is ready.")] = None
    latest_created_revision: Annotated[str | None, field_doc("Latest revision.")] = None
    latest_rolledout_revision: Annotated[str | None, field_doc("Latest revision that had all traffic.")] = None
    previous_rolledout_revision: Annotated[str | None, field_doc("The one before.")] = None
    traffic: Annotated[list[TrafficTarget] | None, field_doc("Share of each revision.")] = None


class ModelStates(Resource, frozen=True):
    """States of the model."""

    active_model_state: Annotated[str | None, field_doc("State of the model that serves.")] = None
    target_model_state: Annotated[str | None, field_doc("State of the model that is to serve.")] = None


class FailureInfo(Resource, frozen=True):
    """The last failure."""

    location: Annotated[str | None, field_doc("Replica that failed.")] = None
    reason: Annotated[str | None, field_doc("CamelCase cause, such as `ModelLoadFailed`.")] = None
    message: Annotated[str | None, field_doc("Cause, for people.")] = None
    model_revision_name: Annotated[str | None, field_doc("Revision that failed.")] = None
    time: Annotated[str | None, field_doc("When it failed.")] = None
    exit_code: Annotated[Int32 | None, field_doc("Exit code of the process.")] = None


class ModelCopies(Resource, frozen=True):
    """Counts of model copies."""

    failed_copies: Annotated[Int64 | None, field_doc("Copies that failed to load.")] = None
    total_copies: Annotated[Int64 | None, field_doc("Copies that there are to be.")] = None


class ModelStatus(Resource, frozen=True):
    """The state of the model."""

    transition_status: Annotated[
        str | None, field_doc("`UpToDate`, `InProgress`, `BlockedByFailedLoad` or `InvalidSpec`.")
    ] = None
    states: Annotated[ModelStates | None, field_doc("States of the model.")] = None
    last_failure_info: Annotated[FailureInfo | None, field_doc("The last failure.")] = None
    copies: Annotated[ModelCopies | None, field_doc("Counts of copies.")] = None


class CanaryStatus(Resource, frozen=True):
    """The state of a canary."""

    name: Annotated[str | None, field_doc("Name of the canary.")] = None
    ready: Annotated[bool | None, field_doc("Whether it takes requests.")] = None
    traffic_percent: Annotated[Int32 | None, field_doc("Percent of traffic.")] = None
    model_status: Annotated[ModelStatus | None, field_doc("State of its model.")] = None


class InferenceServiceStatus(Resource, frozen=True):
    """What is served, and how it fares."""

    url: Annotated[str | None, field_doc("URL of the service.")] = None
    address: Annotated[Address | None, field_doc("Address inside the cluster.")] = None
    conditions: Annotated[list[Condition] | None, field_doc("Observations, such as Ready.")] = None
    components: Annotated[dict[str, ComponentStatus] | None, field_doc("State of each component.")] = None
    model_status: Annotated[ModelStatus | None, field_doc("State of the model.")] = None
    canary_statuses: Annotated[list[CanaryStatus] | None, field_doc("State of each canary.")] = None
    deployment_mode: Annotated[str | None, field_doc("`Standard` or `Knative`.")] = None
    serving_runtime_name: Annotated[str | None, field_doc("Runtime that serves.")] = None
    cluster_serving_runtime_name: Annotated[str | None, field_doc("Cluster's runtime that serves.")] = None
    observed_generation: Annotated[Int64 | None, field_doc("Generation that the status is about.")] = None
    annotations: Annotated[dict[str, str] | None, field_doc("Further facts.")] = None
