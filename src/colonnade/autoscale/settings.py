"""From a manifest to the settings of one component: fields, annotations, and which rule they mean. Pure.

KServe has two ways to scale. In its Knative mode, Knative's autoscaler counts requests; in its Standard mode, an HPA or
KEDA measures. A manifest that names no mode is read by what it asks for: a class, a metric, a range of replicas (by
requests, as KServe's own default mode does), or nothing at all. Where a field and an annotation say the same, the field
wins, as in KServe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from colonnade import defaults
from colonnade.autoscale.decision import Fixed, Rule, Settings
from colonnade.autoscale.measured import DOWN, UP, MeasuredRule, Pace, Policy, Select, Target
from colonnade.autoscale.requests import RequestRule
from colonnade.autoscale.sources import Query, Told, Usage
from colonnade.autoscale.windows import RequestMetric
from colonnade.errors import InvalidInput
from colonnade.resources import knative, quantity
from colonnade.resources.knative import Value
from colonnade.resources.meta import AUTOSCALER_CLASS, DEPLOYMENT_MODE

Class = Literal["kpa", "hpa", "keda", "external", "none"]
_CLASSES: Mapping[str, Class] = {"hpa": "hpa", "keda": "keda", "external": "external", "none": "none"}
_KNATIVE_CLASSES: Mapping[str, Class] = {knative.KPA: "kpa", knative.HPA: "hpa"}
_SELECT: Mapping[str, Select] = {"Max": "Max", "Min": "Min", "Disabled": "Disabled"}
_STANDARD = ("Standard", "RawDeployment")
_KNATIVE = ("Knative", "Serverless")
_DEFAULT_TARGETS: Mapping[RequestMetric, float] = {"concurrency": 100.0, "rps": 200.0}
_CPU_UTILIZATION = 80.0  # KServe's default

Json = Mapping[str, Any]


def of(metadata: Json, component: Json) -> Settings:
    """The settings of a component of an object with this metadata.

    Raises:
        InvalidInput: a value is none that can be scaled by; the message names it. The API refuses such a manifest, so
            this is for those that were stored before it did.
    """
    annotations = {**(metadata.get("annotations") or {}), **(component.get("annotations") or {})}
    try:
        values = knative.read(annotations)
    except knative.Refused as refusal:
        raise InvalidInput(f"An annotation {knative.PREFIX}* is refused: {refusal}.") from None
    chosen = class_of(annotations, component)
    least = _int(component.get("minReplicas"), values.get("min-scale"), 1)
    most = _int(component.get("maxReplicas") or None, values.get("max-scale"), 0)
    if chosen == "kpa" and least and not most and not _asks(annotations, component, values):
        rule: Rule = Fixed("nothing asks for scaling: minReplicas is the number of replicas")
        most = least
    elif chosen == "kpa":
        most = max(most, least) if most else 0
        rule = _by_requests(component, values)
    else:
        least = least if chosen == "keda" else max(1, least)
        most = max(most, least)
        rule = _by_measure(chosen, component, values, least)
    initial = _int(None, values.get("initial-scale"), 1)
    return Settings(rule, least, most, initial if chosen == "kpa" else max(1, initial))


def _asks(annotations: Json, component: Json, values: Mapping[str, Value]) -> bool:
    """Whether a manifest without limits asks for scaling: by its mode, or by saying what to scale by.

    One that says nothing of it keeps its number, as KServe's Standard mode has it: an HPA without `maxReplicas`. On one
    machine that is also what is least surprising, since each further replica takes cores from other services.
    """
    return annotations.get(DEPLOYMENT_MODE) in _KNATIVE or bool(
        values or component.get("scaleMetric") or component.get("scaleTarget")
    )


def class_of(annotations: Json, component: Json) -> Class:
    """Which of KServe's scalers a component gets."""
    mode, own = annotations.get(DEPLOYMENT_MODE), annotations.get(AUTOSCALER_CLASS, "")
    of_knative = annotations.get(f"{knative.PREFIX}class")
    if own in _CLASSES and mode not in _KNATIVE:
        return _CLASSES[own]
    if mode in _STANDARD:
        return "hpa"
    if of_knative is not None:
        return _KNATIVE_CLASSES.get(str(of_knative), "external")
    if mode in _KNATIVE:
        return "kpa"
    kinds = {metric.get("type") for metric in (component.get("autoScaling") or {}).get("metrics") or ()}
    if kinds - {"Resource"}:
        return "keda"
    return "hpa" if kinds or component.get("scaleMetric") in ("cpu", "memory") else "kpa"


def _by_requests(component: Json, values: Mapping[str, Value]) -> RequestRule:
    metric: RequestMetric = "rps" if (component.get("scaleMetric") or values.get("metric")) == "rps" else "concurrency"
    limit = float(component.get("containerConcurrency") or 0) if metric == "concurrency" else 0.0
    asked = component.get("scaleTarget") or values.get("target")
    capacity = float(asked) if asked else limit or _DEFAULT_TARGETS[metric]
    if limit:
        capacity = min(capacity, limit)
    utilisation = float(values.get("target-utilization-percentage", defaults.TARGET_UTILIZATION)) / 100
    stable = float(values.get("window", defaults.STABLE_WINDOW))
    return RequestRule(
        metric=metric,
        target=max(0.01, capacity * utilisation),
        capacity=capacity,
        stable_window=stable,
        panic_window=max(1.0, stable * float(values.get("panic-window-percentage", defaults.PANIC_WINDOW)) / 100),
        panic_threshold=float(values.get("panic-threshold-percentage", defaults.PANIC_THRESHOLD)) / 100,
        max_up_rate=defaults.MAX_SCALE_UP_RATE,
        max_down_rate=defaults.MAX_SCALE_DOWN_RATE,
        down_delay=float(values.get("scale-down-delay", 0.0)),
        retention=float(values.get("scale-to-zero-pod-retention-period", 0.0)),
        activation=int(values.get("activation-scale", 1)),
        burst_capacity=float(values.get("target-burst-capacity", defaults.TARGET_BURST_CAPACITY)),
        weighted=str(values.get("metric-aggregation-algorithm", "linear")) != "linear",
    )


def _by_measure(chosen: Class, component: Json, values: Mapping[str, Value], least: int) -> Rule:
    if chosen == "none":
        return Fixed("the class is none: minReplicas is the number of replicas")
    if chosen == "external":
        return Fixed("the class is external, and nothing outside scales here: minReplicas is the number of replicas")
    targets = tuple(_listed(component)) if chosen == "keda" or component.get("autoScaling") else ()
    if not targets and chosen == "keda":
        return Fixed("there are no metrics: minReplicas is the number of replicas")
    behavior = (component.get("autoScaling") or {}).get("behavior") or {}
    return MeasuredRule(
        targets=targets or (_single(component, values),),
        up=_pace(behavior.get("scaleUp"), UP),
        down=_pace(behavior.get("scaleDown"), DOWN),
        zero=least == 0 and any(target.wakes for target in targets),
    )


def _single(component: Json, values: Mapping[str, Value]) -> Target:
    """The metric of `scaleMetric` and `scaleTarget`: always a utilisation, as KServe has it."""
    name = str(component.get("scaleMetric") or values.get("metric") or "cpu")
    goal = component.get("scaleTarget") or values.get("target")
    if name == "memory" and goal:
        return Target("memory", "utilization", float(goal), Usage("memory"))
    return Target("cpu", "utilization", float(goal) if goal and name == "cpu" else _CPU_UTILIZATION, Usage("cpu"))


def _listed(component: Json) -> Iterator[Target]:
    for metric in (component.get("autoScaling") or {}).get("metrics") or ():
        if metric["type"] == "Resource":
            yield _resource(metric["resource"])
            continue
        external = metric["type"] == "External"
        held = metric["external" if external else "podmetric"]
        source = _query(held) if external else _told(held["metric"])
        yield Target(source.query, "average", _amount(source.query, held["target"].get("value")), source)


def _resource(resource: Json) -> Target:
    name: Literal["cpu", "memory"] = "memory" if resource["name"] == "memory" else "cpu"
    target = resource["target"]
    amount = target.get({"AverageValue": "averageValue", "Value": "value"}.get(str(target.get("type")), ""))
    if amount is not None:
        return Target(name, "average", _amount(name, amount), Usage(name, percent=False))
    return Target(name, "utilization", float(target.get("averageUtilization") or _CPU_UTILIZATION), Usage(name))


def _query(external: Json) -> Query:
    asked, credentials = external["metric"], external.get("authenticationRef") or {}
    return Query(
        "graphite" if asked.get("backend") == "graphite" else "prometheus",
        str(asked.get("serverAddress") or ""),
        str(asked.get("query") or ""),
        str(asked.get("namespace") or ""),
        str((credentials.get("authenticationRef") or {}).get("name") or ""),
        str(credentials.get("authModes") or ""),
    )


def _told(metric: Json) -> Told:
    return Told(
        str(metric.get("query") or next(iter(metric.get("metricNames") or ()), "")),
        str(metric.get("operationOverTime") or "last_one"),
    )


def _amount(name: str, amount: Any) -> float:
    """The goal of a metric. KServe makes it a share for each replica, whatever type of target is written."""
    goal = float(quantity.parse(amount)) if amount is not None else 0.0
    if goal <= 0:
        raise InvalidInput(f"The target of {name!r} is {amount!r}; it must be greater than 0.")
    return goal


def _pace(rules: Json | None, default: Pace) -> Pace:
    """What `behavior` says of one direction, over Kubernetes' defaults."""
    if not rules:
        return default
    policies = tuple(
        Policy(
            "Percent" if policy["type"] == "Percent" else "Pods", int(policy["value"]), float(policy["periodSeconds"])
        )
        for policy in rules.get("policies") or ()
    )
    window, tolerance = rules.get("stabilizationWindowSeconds"), rules.get("tolerance")
    return Pace(
        default.window if window is None else float(window),
        policies or default.policies,
        _SELECT.get(str(rules.get("selectPolicy")), default.select),
        default.tolerance if tolerance is None else float(quantity.parse(tolerance)),
    )


def _int(first: Any, second: Any, default: int) -> int:
    """The first that is given."""
    return int(next((value for value in (first, second) if value is not None), default))
