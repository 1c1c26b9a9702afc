"""Rules on `spec.canary`, KServe's list of predictor variants (Standard mode, from v0.20)."""

from __future__ import annotations

from collections.abc import Iterator

from colonnade.resources import scaling
from colonnade.resources.inferenceservice import InferenceService, Predictor
from colonnade.resources.strict import Cause


def rules(isvc: InferenceService) -> Iterator[Cause]:
    """Variants are named, distinct, no larger than the stable predictor, and share at most all traffic."""
    canaries = isvc.spec.canary or []
    if not canaries:
        return
    if scaling.deployment_mode(isvc) not in (None, scaling.STANDARD):
        yield "spec.canary", "canary is only supported in Standard deployment mode"
    stable = isvc.spec.predictor
    if not stable.frameworks:
        yield "spec.canary", "canary requires a stable predictor with a model"
    total = sum(canary.traffic_percent for canary in canaries)
    if total > 100:
        yield "spec.canary", f"the sum of canary trafficPercent is {total}, must be <= 100"
    seen: set[str] = set()
    for index, canary in enumerate(canaries):
        path = f"spec.canary[{index}].predictor"
        name = canary.predictor.name
        if not name:
            yield f"{path}.name", "predictor.name is required for canary"
        elif name in seen:
            yield f"{path}.name", f'canary predictor.name "{name}" is duplicated'
        elif name == stable.name:
            yield f"{path}.name", f'canary predictor.name "{name}" conflicts with stable predictor.name'
        seen.add(name or "")
        yield from _forbidden(path, canary.predictor)
        least = 1 if stable.min_replicas is None else stable.min_replicas
        if canary.predictor.min_replicas is not None and canary.predictor.min_replicas > least:
            text = f"canary minReplicas {canary.predictor.min_replicas} must not exceed stable minReplicas {least}"
            yield f"{path}.minReplicas", text


def _forbidden(path: str, predictor: Predictor) -> Iterator[Cause]:
    for field, value in (
        ("maxReplicas", predictor.max_replicas),
        ("scaleTarget", predictor.scale_target),
        ("scaleMetric", predictor.scale_metric),
        ("autoScaling", predictor.auto_scaling),
        ("workerSpec", predictor.worker_spec),
    ):
        if value is not None:
            yield f"{path}.{field}", f"canary must not set {field}"


def rename(before: InferenceService, after: InferenceService) -> Iterator[Cause]:
    """A new name of the predictor comes with a new model, as promotion does."""
    old, new = before.spec.predictor, after.spec.predictor
    if old.name != new.name and old.frameworks == new.frameworks and old.containers == new.containers:
        yield "spec.predictor.name", "predictor.name change requires a model change (e.g. storageUri)"
