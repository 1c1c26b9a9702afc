"""What a service asks for beside its components that may not be had: conditions of their own, for people. Pure.

A shadow that does not run and a payload log that is not kept are no reason to serve nobody, so `Ready` does not depend
on them; that they are missing must be seen all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from colonnade.control.rollouts import shadowing

SHADOW = "ShadowReady"
PAYLOAD_LOG = "PayloadLogReady"
KINDS = (SHADOW, PAYLOAD_LOG)


class Remark(NamedTuple):
    """A condition of a service that its readiness does not depend on."""

    kind: str
    holds: bool
    reason: str = ""
    message: str = ""


def shadow(isvc: Mapping[str, Any], running: Collection[str]) -> Remark | None:
    """Whether the shadow of a service gets requests; None without one, or while it starts.

    `running`: the names of the revisions that run or shall run.
    """
    missing = shadowing.missing(isvc, running)
    if missing:
        return Remark(SHADOW, False, "ShadowNotFound", missing)
    return None if shadowing.of(isvc) is None else Remark(SHADOW, True)


def payload_log(trouble: str | None) -> Remark | None:
    """Whether the payloads of a service are logged. `trouble`: why they are not, "" if they are, None if none shall."""
    if trouble is None:
        return None
    return Remark(PAYLOAD_LOG, False, "PayloadLogFailed", trouble) if trouble else Remark(PAYLOAD_LOG, True)
