"""Shadow traffic as the manifest asks for it: who gets copies of the requests, and how their answers compared. Pure.

`colonnade.dev/shadow: NAME[=PERCENT]` names a variant of `spec.canary`, a revision, or `latest`, the newest one. It
must run, so it has an entry in the traffic, mostly of 0 percent. How the answers compared so far is kept in the
service's status, where every client of the API finds it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from colonnade import defaults
from colonnade.control.rollouts import rollout
from colonnade.control.workload import components
from colonnade.errors import InvalidInput
from colonnade.gateway.routes import Shadow

RECORD = "colonnade.dev/shadow-result"  # on the service's status
LOOK = 5.0  # seconds between looks at what was compared


class Wanted(NamedTuple):
    """A shadow as an annotation names it."""

    name: str
    percent: float


class Result(msgspec.Struct, frozen=True):
    """How the answers of a shadow compared so far. `outcomes`: see `gateway.shadow.Outcome`."""

    revision: str
    percent: float
    outcomes: dict[str, int]


def wanted(annotations: Mapping[str, str]) -> Wanted | None:
    """The shadow that a service asks for; None without one.

    Raises:
        InvalidInput: the annotation cannot be read.
    """
    text = annotations.get(defaults.SHADOW)
    if not text:
        return None
    name, given, number = text.partition("=")
    try:
        percent = float(number) if given else 100.0
    except ValueError:
        percent = -1.0
    if not name or not 0.0 < percent <= 100.0:
        raise InvalidInput(
            f"annotation {defaults.SHADOW} must be NAME or NAME=PERCENT, where NAME is a variant of spec.canary, a "
            f"revision or latest, and PERCENT more than 0 and at most 100, not {text!r}"
        )
    return Wanted(name, percent)


def of(isvc: Mapping[str, Any]) -> Shadow | None:
    """The shadow of a service's predictor; None while none runs, or if it takes all the requests itself."""
    try:
        asked = wanted(isvc["metadata"].get("annotations") or {})
    except InvalidInput:  # `template` has refused the manifest
        return None
    if asked is None:
        return None
    shares = rollout.past(isvc, components.PREDICTOR).shares
    name = _revision(isvc, asked.name, [share.revision for share in shares])
    others = any(share.percent for share in shares if share.revision != name)
    return Shadow(name, asked.percent) if name and others else None


def missing(isvc: Mapping[str, Any], running: Collection[str]) -> str:
    """Why the shadow that a service names can never get a request, as things stand; "" if it may.

    `running`: the names of the revisions that run or shall run.
    """
    try:
        asked = wanted(isvc["metadata"].get("annotations") or {})
    except InvalidInput:  # `template` has refused the manifest
        return ""
    variants = [str(each["predictor"]["name"]) for each in isvc["spec"].get("canary") or ()]
    if asked is None or asked.name in (rollout.LATEST, *variants, *running):
        return ""
    names = ", ".join((rollout.LATEST, *variants, *sorted(running)))
    return (
        f"annotation {defaults.SHADOW}: nothing runs under the name {asked.name!r}, so no request is copied; "
        f"name one of {names}, or give spec.canary a variant of that name"
    )


def _revision(isvc: Mapping[str, Any], name: str, running: list[str]) -> str:
    """The revision that is meant, or "" if that does not run."""
    if name == rollout.LATEST:
        found = ((isvc.get("status") or {}).get("components") or {}).get(components.PREDICTOR) or {}
        name = str(found.get("latestCreatedRevision") or "")
    variant = f"{isvc['metadata']['name']}-{name}-{components.PREDICTOR}"
    return next((each for each in running if name == each or each.rpartition("-")[0] == variant), "")


def record(shadow: Shadow, outcomes: Mapping[str, int]) -> str:
    """A result, for the status."""
    result = Result(shadow.revision, shadow.percent, dict(outcomes))
    return msgspec.json.encode(result, order="sorted").decode()


def recorded(annotations: Mapping[str, str]) -> Result | None:
    """What `record` wrote; None if there is nothing that can be read."""
    try:
        return msgspec.json.decode(annotations.get(RECORD, "null"), type=Result | None)
    except msgspec.MsgspecError:
        return None
