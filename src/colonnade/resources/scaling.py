"""Rules on scaling and deployment mode (KServe's `validateAutoScalingCompExtension` and `validateDeploymentMode`).

KServe checks `scaleMetric` by the deployment mode, which a cluster's settings presume where no annotation says it. A
manifest without the annotation is valid here if it is valid in either mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from colonnade.errors import InvalidInput
from colonnade.resources import knative
from colonnade.resources import kserve_texts as texts
from colonnade.resources.autoscaling import ExternalMetric, MetricSpec, MetricTarget, PodMetric, ResourceMetric
from colonnade.resources.inferenceservice import ComponentExtension, InferenceService
from colonnade.resources.meta import AUTOSCALER_CLASS, DEPLOYMENT_MODE
from colonnade.resources.quantity import parse as parse_quantity
from colonnade.resources.strict import Cause

STANDARD = "Standard"
KNATIVE = "Knative"
_OLD_NAMES = {"RawDeployment": STANDARD, "Serverless": KNATIVE}
_KNATIVE_CLASS = f"{knative.PREFIX}class"
_CLASSES = ("hpa", "external", "keda", "none")


def annotations_of(isvc: InferenceService) -> Mapping[str, str]:
    """The service's annotations, empty if it has none."""
    return isvc.metadata.annotations or {}


def deployment_mode(isvc: InferenceService) -> str | None:
    """The mode that the annotation asks for, by its present name; None if it asks for none."""
    asked = annotations_of(isvc).get(DEPLOYMENT_MODE)
    return None if asked is None else _OLD_NAMES.get(asked, asked)


def deployment_mode_change(before: InferenceService, after: InferenceService) -> Iterator[Cause]:
    """The mode stays what it was: as annotated, or else as the status recorded it."""
    recorded = before.status.deployment_mode if before.status else None
    was = deployment_mode(before) or (_OLD_NAMES.get(recorded, recorded) if recorded else None)
    wanted = deployment_mode(after)
    if was and wanted and was != wanted:
        text = f"update rejected: deploymentMode cannot be changed from '{was}' to '{wanted}'"
        yield f"metadata.annotations[{DEPLOYMENT_MODE}]", text


def autoscaler_class(isvc: InferenceService) -> Iterator[Cause]:
    """The class is one that KServe has."""
    asked = annotations_of(isvc).get(AUTOSCALER_CLASS)
    if asked is not None and asked not in _CLASSES:
        yield f"metadata.annotations[{AUTOSCALER_CLASS}]", f"[{asked}] is not a supported autoscaler class type"


def knative_annotations(isvc: InferenceService) -> Iterator[Cause]:
    """The service's annotations for Knative's autoscaler have values that it takes."""
    yield from knative.failures("metadata.annotations", annotations_of(isvc))


def component(path: str, part: ComponentExtension, isvc: InferenceService) -> Iterator[Cause]:
    """The scaling fields and annotations of a component fit the mode and the class."""
    yield from knative.failures(f"{path}.annotations", part.annotations or {})
    mode = deployment_mode(isvc)
    if mode == STANDARD:
        chosen = annotations_of(isvc).get(AUTOSCALER_CLASS)
        if chosen == "hpa":
            yield from _hpa(path, part)
        elif chosen == "keda":
            yield from _keda(path, part)
    elif mode == KNATIVE:
        if annotations_of(isvc).get(_KNATIVE_CLASS) == knative.HPA:
            yield from _hpa(path, part)
        else:
            yield from _kpa(path, part)


def _kpa(path: str, part: ComponentExtension) -> Iterator[Cause]:
    if part.deployment_strategy is not None:
        yield f"{path}.deploymentStrategy", texts.DEPLOYMENT_STRATEGY
    if part.scale_metric in ("cpu", "memory"):
        yield f"{path}.scaleMetric", f"[{part.scale_metric}] is not a supported metric"
    if part.scale_metric == "rps" and part.scale_target is not None and part.scale_target < 1:
        yield f"{path}.scaleTarget", "the target for rps should be greater than 1"


def _hpa(path: str, part: ComponentExtension) -> Iterator[Cause]:
    metric = part.scale_metric or "cpu"
    target = part.scale_target
    if metric not in ("cpu", "memory"):
        yield f"{path}.scaleMetric", f"[{metric}] is not a supported metric"
    elif target is not None and ((metric == "cpu" and target < 1) or target > 100):
        yield f"{path}.scaleTarget", texts.TARGET_UTILIZATION
    elif target is not None and target < 1:
        yield f"{path}.scaleTarget", "the target memory should be greater than 1 MiB"
    for where, spec in _metrics(path, part):
        if spec.type != "Resource":
            text = f"invalid HPA metric source type with value [{spec.type}],valid metric source types are Resource"
            yield f"{where}.type", text
        elif spec.resource is None:
            yield where, "metricSpec.Resource is not set for resource metric source type"


def _metrics(path: str, part: ComponentExtension) -> Iterator[tuple[str, MetricSpec]]:
    for index, spec in enumerate((part.auto_scaling.metrics if part.auto_scaling else None) or ()):
        yield f"{path}.autoScaling.metrics[{index}]", spec


def _keda(path: str, part: ComponentExtension) -> Iterator[Cause]:
    if part.scale_metric is not None:
        yield f"{path}.scaleMetric", texts.KEDA_SCALE_METRIC
    for where, spec in _metrics(path, part):
        source: Any = {"Resource": spec.resource, "External": spec.external, "PodMetric": spec.podmetric}[spec.type]
        if source is None:
            named = {"Resource": "resource", "External": "external", "PodMetric": "pod"}[spec.type]
            yield where, f"metricSpec.{spec.type} is not set for {named} metric source type"
        elif isinstance(source, ResourceMetric):
            yield from _keda_resource(f"{where}.resource", source)
        else:
            yield from _keda_query(f"{where}.{spec.type.lower()}", source)


def _keda_resource(path: str, source: ResourceMetric) -> Iterator[Cause]:
    target = source.target
    if source.name == "cpu" and target.type != "Utilization":
        yield f"{path}.target.type", "the cpu target value type should be Utilization"
    elif source.name == "memory" and target.type not in ("AverageValue", "Utilization"):
        yield f"{path}.target.type", "the memory target value type should be AverageValue or Utilization"
    elif target.type == "AverageValue" and target.average_value is not None and _below_mebibyte(target.average_value):
        yield f"{path}.target.averageValue", "the memory target value should be greater than 1 MiB"
    yield from _target(f"{path}.target", target)


def _below_mebibyte(amount: int | str) -> bool:
    try:
        return parse_quantity(amount) < 1 << 20
    except InvalidInput:
        return True


def _keda_query(path: str, source: ExternalMetric | PodMetric) -> Iterator[Cause]:
    if not source.metric.query:
        yield f"{path}.metric.query", texts.EMPTY_QUERY
    if source.target.value is None:
        yield f"{path}.target.value", texts.EMPTY_THRESHOLD
    yield from _target(f"{path}.target", source.target)


def _target(path: str, target: MetricTarget) -> Iterator[Cause]:
    if target.type == "Utilization":
        if target.average_utilization is None:
            yield path, "the AverageUtilization type should be set"
        elif not 1 <= target.average_utilization <= 100:
            yield f"{path}.averageUtilization", texts.TARGET_UTILIZATION
    elif target.type == "AverageValue" and target.average_value is None:
        yield path, "the AverageValue type should be set"
    elif target.type == "Value" and target.value is None:
        yield path, "the Value type should be set"
