"""What is decided about TrainedModels: which of them fit into their service, and what their status says. Pure.

Condition types, reasons and messages are KServe's. Ours goes further in one point: Ready says that every replica that
takes requests has loaded the model, not only that it was told to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from colonnade.resources.quantity import parse
from colonnade.resources.trainedmodel import quantity_failure, several

SERVICE_READY, MEMORY, MULTI_MODEL, READY = (
    "InferenceServiceReady",
    "MemoryResourceAvailable",
    "IsMMSPredictor",
    "Ready",
)


class Fact(NamedTuple):
    """One condition: `True`, `False` or `Unknown`, and why it is not true."""

    kind: str
    status: str
    reason: str = ""
    message: str = ""


class Served(NamedTuple):
    """How far the model is in the replicas of its service.

    Attributes:
        ready: every replica that takes requests has it, and there is one.
        reason, message: what is missing; a reason of a failure, or of what is waited for.
        failed: it is a failure.
    """

    ready: bool
    reason: str = ""
    message: str = ""
    failed: bool = False


def service_facts(isvc: Mapping[str, Any] | None, name: str) -> list[Fact]:
    """What the (defaulted) service of a model says of it."""
    if isvc is None:
        text = f'inferenceservices "{name}" not found: apply it, or correct spec.inferenceService'
        missing = "Inference Service predictor is not configured for multi-model serving"
        return [
            Fact(SERVICE_READY, "False", "InferenceServiceNotFound", text),
            Fact(MULTI_MODEL, "False", "IsNotMMSPredictor", missing),
        ]
    ready = is_ready(isvc.get("status") or {})
    text = "Inference Service needs to be ready before Trained Model can be ready"
    facts = [Fact(SERVICE_READY, "True") if ready else Fact(SERVICE_READY, "False", "InferenceServiceNotReady", text)]
    if several(isvc["spec"]["predictor"]):
        return [*facts, Fact(MULTI_MODEL, "True")]
    text = (
        "Inference Service predictor is not configured for multi-model serving: it names a model of its own, or a "
        "container; leave storageUri and storage out of its model"
    )
    return [*facts, Fact(MULTI_MODEL, "False", "IsNotMMSPredictor", text)]


def limit(isvc: Mapping[str, Any]) -> Decimal | None:
    """The memory limit of a service's predictor; None for no limit."""
    model = isvc["spec"]["predictor"].get("model") or {}
    amount = ((model.get("resources") or {}).get("limits") or {}).get("memory")
    return None if amount is None or quantity_failure(amount) else parse(amount)


def admitted(
    models: Iterable[Mapping[str, Any]], bound: Decimal | None, placed: Collection[str]
) -> dict[str, Decimal | None]:
    """Which models of one service fit into its memory: None by name, or for those that do not, what was free.

    A model that is placed keeps its room; of the others, those that were made first come first.
    """
    if bound is None:
        return {str(each["metadata"]["name"]): None for each in models}
    free, found = bound, dict[str, Decimal | None]()
    for each in sorted(models, key=lambda each: (each["metadata"]["name"] not in placed, *_age(each))):
        wanted = parse(each["spec"]["model"]["memory"])
        if wanted <= free:
            free -= wanted
            found[each["metadata"]["name"]] = None
        else:
            found[each["metadata"]["name"]] = free
    return found


def memory_fact(obj: Mapping[str, Any], free: Decimal | None) -> Fact:
    """Whether a model fits; `free` is of `admitted`."""
    if free is None:
        return Fact(MEMORY, "True")
    wanted = obj["spec"]["model"]["memory"]
    text = (
        "Inference Service does not have enough memory resources for Trained Model: it wants "
        f"{wanted}, and {int(free)} bytes of the limit of {obj['spec']['inferenceService']} are free; raise the limit, "
        "or remove a model"
    )
    return Fact(MEMORY, "False", "MemoryResourceNotAvailable", text)


def status(
    obj: Mapping[str, Any], isvc: Mapping[str, Any] | None, facts: Iterable[Fact], served: Served, now: str
) -> dict[str, Any]:
    """The whole new status. `obj` has that of before, `now` is the time for what changes, RFC 3339."""
    found = sorted(facts)
    first = next((each for each in found if each.status != "True"), None)
    if first is not None:
        found.append(Fact(READY, "False", first.reason, first.message))
    elif served.ready:
        found.append(Fact(READY, "True"))
    else:
        found.append(Fact(READY, "False" if served.failed else "Unknown", served.reason, served.message))
    old = {each["type"]: each for each in (obj.get("status") or {}).get("conditions") or ()}
    new: dict[str, Any] = {
        "observedGeneration": obj["metadata"].get("generation", 1),
        "conditions": [_condition(each, old.get(each.kind, {}), now) for each in found],
    }
    told = (isvc or {}).get("status") or {}
    path = _path(isvc, obj["metadata"]["name"])
    if told.get("url"):
        new["url"] = told["url"] + path
    if (told.get("address") or {}).get("url"):
        new["address"] = {"url": told["address"]["url"] + path}
    return new


def is_ready(found: Mapping[str, Any]) -> bool:
    """Whether a status says Ready."""
    return any(each["type"] == READY and each["status"] == "True" for each in found.get("conditions") or ())


def fits(found: Mapping[str, Any]) -> bool:
    """Whether a status says that there is memory for the model."""
    return any(each["type"] == MEMORY and each["status"] == "True" for each in found.get("conditions") or ())


def _path(isvc: Mapping[str, Any] | None, name: str) -> str:
    model = ((isvc or {}).get("spec") or {}).get("predictor", {}).get("model") or {}
    second = str(model.get("protocolVersion") or "").endswith("v2")
    return f"/v2/models/{name}/infer" if second else f"/v1/models/{name}:predict"


def _condition(fact: Fact, old: Mapping[str, Any], now: str) -> dict[str, Any]:
    since = old.get("lastTransitionTime", now) if old.get("status") == fact.status else now
    found = {"type": fact.kind, "status": fact.status, "lastTransitionTime": since}
    if fact.reason:
        found["reason"] = fact.reason
    if fact.message:
        found["message"] = fact.message
    return found


def _age(obj: Mapping[str, Any]) -> tuple[str, str]:
    return str(obj["metadata"].get("creationTimestamp", "")), str(obj["metadata"]["name"])
