"""From manifests to settings, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.autoscale import settings
from colonnade.autoscale.decision import Fixed, Settings
from colonnade.autoscale.measured import DOWN, UP, MeasuredRule, Pace, Policy, Target
from colonnade.autoscale.requests import RequestRule
from colonnade.autoscale.sources import Query, Told, Usage
from colonnade.errors import InvalidInput

MODE, CLASS = "serving.kserve.io/deploymentMode", "serving.kserve.io/autoscalerClass"
HPA = {MODE: "Standard", CLASS: "hpa"}
KEDA = {MODE: "Standard", CLASS: "keda"}
KNATIVE_HPA = {"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}
EXTERNAL = {
    "type": "External",
    "external": {
        "metric": {"backend": "prometheus", "serverAddress": "http://p:9090", "query": "sum(q)", "namespace": "n"},
        "authenticationRef": {"authenticationRef": {"name": "s"}, "authModes": "bearer"},
        "target": {"type": "Value", "value": "10"},
    },
}
QUERY = Query("prometheus", "http://p:9090", "sum(q)", "n", "s", "bearer")


def of(component: dict[str, Any] | None = None, annotations: dict[str, str] | None = None) -> Settings:
    return settings.of({"annotations": annotations or {}}, component or {})


def knative(**given: str) -> dict[str, str]:
    return {f"autoscaling.knative.dev/{name.replace('_', '-')}": value for name, value in given.items()}


def rule(component: dict[str, Any] | None = None, annotations: dict[str, str] | None = None) -> RequestRule:
    found = of({"maxReplicas": 9, **(component or {})}, annotations).rule
    assert isinstance(found, RequestRule)
    return found


@pytest.mark.parametrize(
    ("annotations", "component", "expected"),
    [
        ({}, {}, "kpa"),
        ({}, {"scaleMetric": "rps"}, "kpa"),
        ({}, {"scaleMetric": "cpu"}, "hpa"),
        ({}, {"autoScaling": {"metrics": [{"type": "Resource"}]}}, "hpa"),
        ({}, {"autoScaling": {"metrics": [{"type": "Resource"}, {"type": "External"}]}}, "keda"),
        ({}, {"autoScaling": {"metrics": [{"type": "PodMetric"}]}}, "keda"),
        ({MODE: "Standard"}, {}, "hpa"),
        ({MODE: "RawDeployment"}, {"scaleMetric": "concurrency"}, "hpa"),
        ({MODE: "Knative"}, {}, "kpa"),
        ({MODE: "Serverless"}, {"scaleMetric": "cpu"}, "kpa"),
        ({MODE: "Serverless", CLASS: "keda"}, {}, "kpa"),
        (KNATIVE_HPA, {}, "hpa"),
        ({MODE: "Standard"} | KNATIVE_HPA, {}, "hpa"),
        ({"autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev"}, {"scaleMetric": "cpu"}, "kpa"),
        ({"autoscaling.knative.dev/class": "mine.example.com"}, {}, "external"),
        ({CLASS: "hpa"}, {}, "hpa"),
        ({CLASS: "keda"}, {}, "keda"),
        ({CLASS: "external"}, {}, "external"),
        ({CLASS: "none"}, {}, "none"),
    ],
)
def test_which_scaler_a_manifest_means(annotations: Any, component: Any, expected: str) -> None:
    assert settings.class_of(annotations, component) == expected


@pytest.mark.parametrize(
    ("component", "annotations", "bounds"),
    [
        ({}, {}, (1, 1, 1)),
        ({}, {MODE: "Knative"}, (1, 0, 1)),
        ({"minReplicas": 2, "scaleTarget": 4}, {}, (2, 0, 1)),
        ({"minReplicas": 0}, {}, (0, 0, 1)),
        ({"minReplicas": 2, "maxReplicas": 5}, {}, (2, 5, 1)),
        ({"maxReplicas": 0}, {}, (1, 1, 1)),
        ({}, knative(min_scale="0", max_scale="7"), (0, 7, 1)),
        ({"minReplicas": 2, "maxReplicas": 3}, knative(min_scale="0", max_scale="7"), (2, 3, 1)),
        ({}, knative(initial_scale="3"), (1, 0, 3)),
        ({"minReplicas": 0}, knative(initial_scale="0"), (0, 0, 0)),
        ({}, {"autoscaling.knative.dev/minScale": "4"}, (4, 0, 1)),
        ({}, {"autoscaling.knative.dev/minScale": "4"} | knative(min_scale="2"), (2, 0, 1)),
        ({"minReplicas": 0, "maxReplicas": 4}, HPA, (1, 4, 1)),
        ({"minReplicas": 3}, HPA, (3, 3, 1)),
        ({"minReplicas": 0, "maxReplicas": 4, "autoScaling": {"metrics": [EXTERNAL]}}, KEDA, (0, 4, 1)),
        ({"minReplicas": 2}, {CLASS: "none"}, (2, 2, 1)),
        ({"annotations": knative(min_scale="5")}, knative(min_scale="2"), (5, 0, 1)),
    ],
)
def test_the_bounds(component: Any, annotations: Any, bounds: tuple[int, int, int]) -> None:
    found = of(component, annotations)
    assert (found.least, found.most, found.initial) == bounds


@pytest.mark.parametrize(
    ("component", "annotations", "metric", "target", "capacity"),
    [
        ({}, {}, "concurrency", 70.0, 100.0),
        ({"scaleMetric": "rps"}, {}, "rps", 140.0, 200.0),
        ({"scaleTarget": 10}, {}, "concurrency", 7.0, 10.0),
        ({"scaleTarget": 10, "scaleMetric": "rps"}, {}, "rps", 7.0, 10.0),
        ({}, knative(target="10", metric="rps"), "rps", 7.0, 10.0),
        ({"scaleTarget": 20}, knative(target="10"), "concurrency", 14.0, 20.0),
        ({"scaleTarget": 10}, knative(target_utilization_percentage="100"), "concurrency", 10.0, 10.0),
        ({"containerConcurrency": 4}, {}, "concurrency", 2.8, 4.0),
        ({"containerConcurrency": 4, "scaleTarget": 10}, {}, "concurrency", 2.8, 4.0),
        ({"containerConcurrency": 40, "scaleTarget": 10}, {}, "concurrency", 7.0, 10.0),
        ({"containerConcurrency": 4, "scaleMetric": "rps"}, {}, "rps", 140.0, 200.0),
        ({}, knative(target="0.01", target_utilization_percentage="1"), "concurrency", 0.01, 0.01),
    ],
)
def test_the_target(component: Any, annotations: Any, metric: str, target: float, capacity: float) -> None:
    found = rule(component, annotations)
    assert (found.metric, found.capacity) == (metric, capacity)
    assert found.target == pytest.approx(target)


@pytest.mark.parametrize(
    ("annotations", "changed"),
    [
        ({}, {}),
        (knative(window="30s"), {"stable_window": 30.0, "panic_window": 3.0}),
        (knative(window="1h"), {"stable_window": 3600.0, "panic_window": 360.0}),
        (knative(window="6s"), {"stable_window": 6.0, "panic_window": 1.0}),
        (knative(panic_window_percentage="20"), {"panic_window": 12.0}),
        (knative(panic_threshold_percentage="150"), {"panic_threshold": 1.5}),
        (knative(scale_down_delay="2m"), {"down_delay": 120.0}),
        (knative(scale_to_zero_pod_retention_period="1m5s"), {"retention": 65.0}),
        (knative(activation_scale="3"), {"activation": 3}),
        (knative(target_burst_capacity="-1"), {"burst_capacity": -1.0}),
        (knative(metric_aggregation_algorithm="weightedExponential"), {"weighted": True}),
        (knative(metric_aggregation_algorithm="linear"), {}),
    ],
)
def test_the_annotations(annotations: dict[str, str], changed: dict[str, Any]) -> None:
    assert rule({}, annotations) == replace(RequestRule(), **changed)


CPU = Target("cpu", "utilization", 80.0, Usage("cpu"))


def resource(name: str, **target: Any) -> dict[str, Any]:
    metric = {"type": "Resource", "resource": {"name": name, "target": target}}
    return {"autoScaling": {"metrics": [metric]}}


@pytest.mark.parametrize(
    ("component", "annotations", "target"),
    [
        ({}, HPA, CPU),
        ({"scaleTarget": 60}, HPA, CPU._replace(goal=60.0)),
        ({"scaleMetric": "cpu"}, {}, CPU),
        ({"scaleMetric": "memory", "scaleTarget": 60}, HPA, Target("memory", "utilization", 60.0, Usage("memory"))),
        ({"scaleMetric": "memory"}, HPA, CPU),  # memory has no default target, and an HPA without metrics takes cpu
        (
            {},
            KNATIVE_HPA | knative(metric="memory", target="75"),
            Target("memory", "utilization", 75.0, Usage("memory")),
        ),
        (resource("cpu", type="Utilization"), HPA, CPU),
        (resource("cpu", type="Utilization", averageUtilization=30), HPA, CPU._replace(goal=30.0)),
        (
            resource("memory", type="AverageValue", averageValue="1Gi"),
            HPA,
            Target("memory", "average", float(1 << 30), Usage("memory", percent=False)),
        ),
        ({"autoScaling": {"metrics": [EXTERNAL]}}, KEDA, Target("sum(q)", "average", 10.0, QUERY)),
        (
            {
                "autoScaling": {
                    "metrics": [
                        {
                            "type": "PodMetric",
                            "podmetric": {
                                "metric": {"backend": "opentelemetry", "query": "busy", "operationOverTime": "avg"},
                                "target": {"type": "Value", "value": "4"},
                            },
                        }
                    ]
                }
            },
            {},
            Target("busy", "average", 4.0, Told("busy", "avg")),
        ),
    ],
)
def test_what_is_measured(component: Any, annotations: Any, target: Target) -> None:
    found = of(component, annotations).rule
    assert isinstance(found, MeasuredRule)
    assert found.targets == (target,)


@pytest.mark.parametrize(
    ("behavior", "up", "down"),
    [
        ({}, UP, DOWN),
        ({"scaleDown": {"stabilizationWindowSeconds": 0}}, UP, Pace(0.0, DOWN.policies)),
        (
            {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}], "selectPolicy": "Min"}},
            Pace(0.0, (Policy("Pods", 1, 60.0),), "Min"),
            DOWN,
        ),
        ({"scaleUp": {"selectPolicy": "Disabled", "tolerance": "50m"}}, Pace(0.0, UP.policies, "Disabled", 0.05), DOWN),
    ],
)
def test_behavior(behavior: Any, up: Pace, down: Pace) -> None:
    found = of({"autoScaling": {"behavior": behavior}}, HPA).rule
    assert isinstance(found, MeasuredRule)
    assert (found.up, found.down) == (up, down)


@pytest.mark.parametrize(
    ("component", "annotations", "zero"),
    [
        ({"minReplicas": 0, "autoScaling": {"metrics": [EXTERNAL]}}, KEDA, True),
        ({"minReplicas": 1, "autoScaling": {"metrics": [EXTERNAL]}}, KEDA, False),
        ({"minReplicas": 0, **resource("cpu", type="Utilization", averageUtilization=50)}, KEDA, False),
    ],
)
def test_zero_needs_something_else_than_resources(component: Any, annotations: Any, zero: bool) -> None:
    found = of(component, annotations).rule
    assert isinstance(found, MeasuredRule)
    assert found.zero is zero


@pytest.mark.parametrize(
    ("annotations", "told"),
    [({CLASS: "none"}, "none"), ({CLASS: "external"}, "nothing outside scales here"), (KEDA, "no metrics")],
)
def test_fixed_numbers_say_why(annotations: dict[str, str], told: str) -> None:
    found = of({"minReplicas": 2, "maxReplicas": 9}, annotations)
    assert isinstance(found.rule, Fixed)
    assert told in found.rule.why


def test_what_cannot_be_read_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="expected 6s <= 1s <= 1h0m0s"):
        of({}, knative(window="1s"))
    broken = {
        "autoScaling": {"metrics": [{**EXTERNAL, "external": {**EXTERNAL["external"], "target": {"value": "0"}}}]}
    }
    with pytest.raises(InvalidInput, match="must be greater than 0"):
        of(broken, KEDA)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "minReplicas": st.integers(0, 10),
            "maxReplicas": st.integers(0, 10),
            "scaleTarget": st.integers(1, 100),
            "scaleMetric": st.sampled_from(["cpu", "memory", "concurrency", "rps"]),
            "containerConcurrency": st.integers(0, 100),
        },
    ),
    st.sampled_from([{}, HPA, KEDA, KNATIVE_HPA, {CLASS: "none"}, {MODE: "Serverless"}]),
)
def test_every_valid_manifest_has_settings(component: dict[str, Any], annotations: dict[str, str]) -> None:
    found = of(component, annotations)
    assert found.least >= 0
    assert not found.most or found.least <= found.most
    if isinstance(found.rule, RequestRule):
        assert 0 < found.rule.target <= found.rule.capacity
