"""Defaults, as KServe's mutating webhook sets them on an InferenceService.

The ten framework keys become `model`; protocols that KServe presumes are written down; a custom component's container
gets its name and KServe's default resources. Source: KServe's `inference_service_defaults.go`; the resource amounts are
those of KServe's shipped configuration (cpu 1, memory 2Gi, request = limit). KServe sets default resources on custom
containers only: a model form takes the amounts of its runtime, so nothing is written there. `minReplicas` is not
written either: its default is presumed by whoever reads it.
"""

from __future__ import annotations

from typing import Any

from colonnade.resources.inferenceservice import GROUP, KIND
from colonnade.resources.served import LEGACY_KEYS, SERVING_CONTAINER

_V2_KEYS = ("triton", "onnx", "huggingface")
_V2_FORMATS = ("triton", "vLLM")
DEFAULT_AMOUNTS = {"cpu": "1", "memory": "2Gi"}  # requests and limits alike


def default(obj: dict[str, Any]) -> dict[str, Any]:
    """The object with defaults filled in; the given one is not changed, and a second pass changes nothing.

    Parts without defaults are shared with the given object. What is malformed is left as it is, for validation to name.
    """
    if obj.get("kind") != KIND or not str(obj.get("apiVersion")).startswith(f"{GROUP}/"):
        return obj
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    filled = dict(spec)
    for name in ("predictor", "transformer", "explainer"):
        component = spec.get(name)
        if isinstance(component, dict):
            if name == "predictor":
                component = _with_protocol(_with_model(component))
            filled[name] = _with_container(component)
    return {**obj, "spec": filled}


def translate(patch: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """A merge patch (RFC 7396) for a stored InferenceService, which has `model` where the user wrote a framework key.

    A framework key that the patch sets replaces the stored `model`, as it does in KServe's webhook. One that it takes
    away, with another form in its place, takes the `model` along that it has become: `kubectl apply` sends this when
    the form of a manifest changes. One that it just takes away is left to have no effect: the manifest says `model`
    now, and the rest of the patch says how that differs from the stored one.
    """
    match patch, stored:
        case {"spec": {"predictor": dict() as asked}}, {"spec": {"predictor": {"model": dict() as model}}}:
            pass
        case _:
            return patch
    if asked.get("model") is not None:
        return patch
    former = (model.get("modelFormat") or {}).get("name")
    replaced = any(asked.get(key) is not None for key in LEGACY_KEYS)
    taken_away = former in LEGACY_KEYS and former in asked and asked.get("containers") is not None
    if not replaced and not taken_away:
        return patch
    return {**patch, "spec": {**patch["spec"], "predictor": {**asked, "model": None}}}


def _with_model(predictor: dict[str, Any]) -> dict[str, Any]:
    """A single framework key becomes `model`, in its place."""
    given = [key for key in LEGACY_KEYS if predictor.get(key) is not None]
    if len(given) != 1 or predictor.get("model") is not None or not isinstance(predictor[given[0]], dict):
        return predictor
    key = given[0]
    model = {"modelFormat": {"name": key}} | {
        name: value for name, value in predictor[key].items() if name != "modelFormat"
    }
    if key in _V2_KEYS and model.get("protocolVersion") is None:
        model["protocolVersion"] = "v2"
    others = ((name, value) for name, value in predictor.items() if name != "model")
    return {"model" if name == key else name: model if name == key else value for name, value in others}


def _with_protocol(predictor: dict[str, Any]) -> dict[str, Any]:
    """Formats that speak V2 only get it written down."""
    model = predictor.get("model")
    if not isinstance(model, dict) or model.get("protocolVersion") is not None:
        return predictor
    form = model.get("modelFormat")
    if isinstance(form, dict) and form.get("name") in _V2_FORMATS:
        return {**predictor, "model": {**model, "protocolVersion": "v2"}}
    return predictor


def _with_container(component: dict[str, Any]) -> dict[str, Any]:
    """The serving container of a custom component gets its name and its resources."""
    containers = component.get("containers")
    if any(component.get(key) is not None for key in ("model", "art", *LEGACY_KEYS)):
        return component
    if not isinstance(containers, list) or not containers or not isinstance(containers[0], dict):
        return component
    first = {**containers[0], "resources": _with_amounts(containers[0].get("resources"))}
    if len(containers) == 1 or not first.get("name"):
        first = {**first, "name": SERVING_CONTAINER}
    return {**component, "containers": [first, *containers[1:]]}


def _with_amounts(resources: Any) -> Any:
    if resources is None:
        resources = {}
    if not isinstance(resources, dict):
        return resources
    filled = dict(resources)
    for part in ("limits", "requests"):
        amounts = filled.get(part)
        if amounts is None or isinstance(amounts, dict):
            filled[part] = {**DEFAULT_AMOUNTS, **(amounts or {})}
    return filled
