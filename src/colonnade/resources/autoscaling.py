"""KServe's multi-metric autoscaling block (`autoScaling`), for HPA and KEDA. What it means is `autoscale.settings`'."""

from __future__ import annotations

from typing import Annotated, Literal

from colonnade.resources.fields import EMULATED, RUNS, Resource, field_doc
from colonnade.resources.meta import Int32

_SHARE = "a share of the metric for each replica, whichever type it has, as in KServe"
_OWN_METRICS = "no collector is asked: the replicas' own /metrics are read"

MetricType = Literal["Utilization", "Value", "AverageValue"]


class MetricTarget(Resource, frozen=True):
    """The value of a metric to hold."""

    type: Annotated[MetricType | None, field_doc("How the value is read.")] = None
    average_utilization: Annotated[Int32 | None, field_doc("Percent of the request, averaged over the pods.")] = None
    average_value: Annotated[int | str | None, field_doc("Amount, averaged over the pods.")] = None
    value: Annotated[int | str | None, field_doc("Amount over all pods.")] = None


class ResourceMetric(Resource, frozen=True):
    """Use of cpu or memory."""

    name: Annotated[Literal["cpu", "memory"], field_doc("The resource.")]
    target: Annotated[MetricTarget, field_doc("The value to hold.")]


class ExternalMetricQuery(Resource, frozen=True):
    """Where an external metric comes from."""

    backend: Annotated[Literal["prometheus", "graphite"] | None, field_doc("Kind of the metric server.")] = None
    server_address: Annotated[str | None, field_doc("Address of the metric server.")] = None
    query: Annotated[str | None, field_doc("Query to ask.")] = None
    namespace: Annotated[str | None, field_doc("Namespace of the query.")] = None


class CredentialsName(Resource, frozen=True):
    """Where credentials are kept."""

    name: Annotated[
        str,
        field_doc(
            "Name of the TriggerAuthentication.",
            EMULATED,
            "the Secret of this name; its keys are those of the parameters: bearerToken, username, password, "
            "customAuthHeader, customAuthValue",
        ),
    ]


class MetricCredentials(Resource, frozen=True):
    """How a metric server is shown who asks."""

    authentication_ref: Annotated[CredentialsName, field_doc("Where the credentials are kept.")]
    auth_modes: Annotated[str | None, field_doc("`basic`, `bearer` or `custom`, or several with commas.")] = None


class ExternalMetric(Resource, frozen=True):
    """A metric from outside the cluster."""

    metric: Annotated[ExternalMetricQuery, field_doc("Where it comes from.")]
    target: Annotated[MetricTarget, field_doc("The value to hold.", RUNS, _SHARE)]
    authentication_ref: Annotated[MetricCredentials | None, field_doc("Credentials of the metric server.")] = None


class PodMetricQuery(Resource, frozen=True):
    """Where a metric of the pods comes from."""

    backend: Annotated[
        Literal["opentelemetry"] | None, field_doc("Kind of the metric source.", EMULATED, _OWN_METRICS)
    ] = None
    server_address: Annotated[str | None, field_doc("Address of the metric source.", EMULATED, _OWN_METRICS)] = None
    metric_names: Annotated[list[str] | None, field_doc("Names of the metrics.")] = None
    query: Annotated[
        str | None, field_doc('Name of a metric, with labels that must match: `name{label="value"}`; it is summed.')
    ] = None
    operation_over_time: Annotated[str | None, field_doc("`last_one`, `avg`, `max`, `min`, `rate` or `count`.")] = None


class PodMetric(Resource, frozen=True):
    """A metric that the pods report."""

    metric: Annotated[PodMetricQuery, field_doc("Where it comes from.")]
    target: Annotated[MetricTarget, field_doc("The value to hold.", RUNS, _SHARE)]


class MetricSpec(Resource, frozen=True):
    """One metric; the field named by `type` is set."""

    type: Annotated[Literal["Resource", "External", "PodMetric"], field_doc("Which of the fields is set.")]
    resource: Annotated[ResourceMetric | None, field_doc("Use of cpu or memory.")] = None
    external: Annotated[ExternalMetric | None, field_doc("A metric from outside the cluster.")] = None
    podmetric: Annotated[PodMetric | None, field_doc("A metric that the pods report.")] = None


class ScalingPolicy(Resource, frozen=True):
    """How much may change in a period."""

    type: Annotated[str, field_doc("`Pods` or `Percent`.")]
    value: Annotated[Int32, field_doc("Amount of change.")]
    period_seconds: Annotated[Int32, field_doc("Length of the period.")]


class ScalingRules(Resource, frozen=True):
    """Pace of scaling in one direction."""

    stabilization_window_seconds: Annotated[Int32 | None, field_doc("How far back recommendations count.")] = None
    select_policy: Annotated[str | None, field_doc("`Max`, `Min` or `Disabled`.")] = None
    policies: Annotated[list[ScalingPolicy] | None, field_doc("Limits of change.")] = None
    tolerance: Annotated[int | str | None, field_doc("Deviation that is let be.")] = None


class ScalingBehavior(Resource, frozen=True):
    """Pace of scaling."""

    scale_up: Annotated[ScalingRules | None, field_doc("Pace upwards.")] = None
    scale_down: Annotated[ScalingRules | None, field_doc("Pace downwards.")] = None


class AutoScaling(Resource, frozen=True):
    """What to scale by, and how fast."""

    metrics: Annotated[list[MetricSpec] | None, field_doc("Metrics to scale by.")] = None
    behavior: Annotated[ScalingBehavior | None, field_doc("Pace of scaling.")] = None
