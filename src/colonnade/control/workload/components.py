"""The components of an InferenceService, and what of each makes a replica what it is. Pure.

Predictor, transformer and explainer are deployed alike, so everything from the revision to the pod is written for a
component. `spec.canary` gives the predictor variants: a variant is the stable predictor with its own fields over it,
and is deployed as `{service}-{variant}-predictor`, as KServe names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from colonnade import defaults, flags

PREDICTOR, TRANSFORMER, EXPLAINER = "predictor", "transformer", "explainer"
NAMES = (PREDICTOR, TRANSFORMER, EXPLAINER)

# How many replicas there are, who reaches them and what is noted of it: no part of what a replica is.
_NOT_TEMPLATE = frozenset(
    {"minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling", "timeout"}
    | {"canaryTrafficPercent", "containerConcurrency", "deploymentStrategy", "logger", "name"}
)
_TEMPLATE_ANNOTATIONS = (
    defaults.REQUIREMENTS,
    defaults.TRUST_CODE,
    defaults.MODEL_DIGEST,
    defaults.DIRECT,
    defaults.GPU_SHARE,
    *flags.ANNOTATIONS,
)


class Component(NamedTuple):
    """One deployment of a service: a component, or a variant of its predictor.

    Attributes:
        name: one of `NAMES`.
        variant: `predictor.name` of the manifest, or "".
        spec: the component as the manifest has it, a variant's merged with the stable one.
    """

    name: str
    variant: str
    spec: dict[str, Any]

    @property
    def infix(self) -> str:
        """What follows the service's name in the names of what is deployed: `predictor`, `blue-predictor`."""
        return f"{self.variant}-{self.name}" if self.variant else self.name


def of(isvc: Mapping[str, Any]) -> Iterator[Component]:
    """The stable components of a (defaulted) service, the predictor first."""
    for name in NAMES:
        spec = isvc["spec"].get(name)
        if spec:
            yield Component(name, str(spec.get("name") or ""), spec)


class Canary(NamedTuple):
    """An entry of `spec.canary`.

    Attributes:
        component: the variant.
        percent: of the traffic.
        replicas: its own `minReplicas`, or None if it gets its share of the stable number.
    """

    component: Component
    percent: int
    replicas: int | None


def canaries(isvc: Mapping[str, Any]) -> Iterator[Canary]:
    """The variants of `spec.canary`."""
    stable = isvc["spec"]["predictor"]
    for canary in isvc["spec"].get("canary") or []:
        own = canary["predictor"]
        variant = Component(PREDICTOR, str(own["name"]), merged(stable, own))
        yield Canary(variant, int(canary["trafficPercent"]), own.get("minReplicas"))


def merged(stable: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A variant: maps are merged field by field, all else of the variant replaces what the stable one has."""
    result = {key: value for key, value in stable.items() if key != "canaryTrafficPercent"}
    for key, value in own.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def template(isvc: Mapping[str, Any], component: Component) -> dict[str, Any]:
    """All of a manifest that makes a replica of the component what it is: `{"spec": ..., "annotations": ...}`."""
    annotations = isvc["metadata"].get("annotations") or {}
    return {
        "spec": {key: value for key, value in component.spec.items() if key not in _NOT_TEMPLATE},
        "annotations": {name: annotations[name] for name in _TEMPLATE_ANNOTATIONS if name in annotations},
    }


def restored(isvc: Mapping[str, Any], component: Component, template: Mapping[str, Any]) -> dict[str, Any]:
    """The service as it would be with an earlier template of one component; scale and routing stay as they are now."""
    annotations = isvc["metadata"].get("annotations") or {}
    kept = {name: value for name, value in annotations.items() if name not in _TEMPLATE_ANNOTATIONS}
    now = {key: value for key, value in component.spec.items() if key in _NOT_TEMPLATE}
    return {
        **isvc,
        "metadata": {**isvc["metadata"], "annotations": {**kept, **template["annotations"]}},
        "spec": {**isvc["spec"], component.name: {**template["spec"], **now}},
    }
