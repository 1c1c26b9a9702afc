"""What is known of one component of a service now, and what that means for whoever waits for it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from colonnade.control.models import safety
from colonnade.control.rollouts.progress import Progress
from colonnade.control.rollouts.rollout import NOWHERE, Split
from colonnade.control.templates.template import Refusal
from colonnade.control.workload import revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.podstatus import (
    CRASH_LOOP,
    UNSCHEDULABLE,
    is_ready,
    never_fits,
    troubled,
    unscheduled,
)
from colonnade.control.workload.revisions import Revision

UP, WAITS, DOWN = "True", "Unknown", "False"


@dataclass(frozen=True)
class Failure:
    """What went wrong last, for `modelStatus.lastFailureInfo`."""

    reason: str
    message: str
    location: str = ""
    revision: str = ""
    time: str = ""
    exit_code: int | None = None


class Variant(NamedTuple):
    """An entry of `spec.canary`: its name, its revision, and the percent that it asks for."""

    name: str
    revision: str
    percent: int


class Verdict(NamedTuple):
    """A condition's status, reason and message."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Deployed:
    """A component as it was last seen.

    Attributes:
        latest: the revision that the manifest asks for; None if the manifest was refused, or the service is stopped.
        pods: those not on their way out, of all revisions.
        counts: replicas wanted of each revision that shall run.
        split: where the traffic goes and shall go.
        runtime: name of the runtime in use, or "".
        runtime_kind: `ServingRuntime` or `ClusterServingRuntime`, or "".
        routed: the names of the revisions that the gateway sends to.
        refusal: why the manifest cannot run here, if it cannot.
        fetching: whether the model of the latest revision is being fetched.
        download: how far that is, in words, or "".
        scanned: what a scan said of the latest revision's model if it must not be loaded, as a record (see `safety`).
        failure: why it was not fetched, if the last attempt failed.
        stopped: whether the user stopped the service.
        variants: what `spec.canary` asks for and can run.
        progress: of a gradual rollout, while one is under way.
        shadow: how the answers of its shadow compared so far, as a record (see `shadowing`), or "".
    """

    component: Component
    latest: Revision | None = None
    pods: Sequence[dict[str, Any]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    split: Split = NOWHERE
    runtime: str = ""
    runtime_kind: str = ""
    routed: Collection[str] = ()
    refusal: Refusal | None = None
    fetching: bool = False
    download: str = ""
    scanned: str = ""
    failure: Failure | None = None
    stopped: bool = False
    variants: tuple[Variant, ...] = ()
    progress: Progress | None = None
    shadow: str = ""

    @property
    def wanted(self) -> str:
        """The name of the latest revision, or ""."""
        return self.latest.name if self.latest is not None else ""

    @property
    def serving(self) -> tuple[str, ...]:
        """The names of the revisions that get requests."""
        return () if self.stopped else tuple(share.revision for share in self.split.now.shares if share.percent)

    def of(self, revision: str) -> list[dict[str, Any]]:
        """The pods of a revision."""
        return [pod for pod in self.pods if revisions.of_pod(pod) == revision]

    def ready(self, revision: str) -> int:
        """How many of them take requests."""
        return sum(is_ready(pod) for pod in self.of(revision))

    def asleep(self, revision: str) -> bool:
        """Whether a revision has no replica because it needs none now."""
        return revision in self.counts and not self.counts[revision]

    @property
    def up(self) -> bool:
        """Whether somebody answers requests for the component, or will be woken by one."""
        return any(self.ready(name) or self.asleep(name) for name in self.serving)

    @property
    def reached(self) -> bool:
        """Whether the gateway sends to it, or to what it was before."""
        return self.up and bool(self.routed)

    @property
    def fell(self) -> str:
        """How the latest revision failed soon after it was ready, while another has its traffic; else ""."""
        return self.latest.fell if self.latest is not None and self.wanted not in self.serving else ""

    @property
    def trouble(self) -> Failure | None:
        """Why the latest revision does not get ready, from what its fetch or its processes left; None if it may yet."""
        if self.failure is not None:
            return self.failure
        if self.refusal is not None:
            return Failure(self.refusal.reason, self.refusal.message)
        if self.latest is not None and self.latest.rejected:
            return Failure("RuntimeUnhealthy", self.latest.rejected, revision=self.latest.name)
        if self.fell:
            return Failure("RuntimeUnhealthy", self.fell, revision=self.wanted)
        return crash(self.of(self.wanted), self.wanted) if self.wanted else None

    def verdict(self) -> Verdict:
        """Whether the traffic goes where the manifest wants it, and if not, why in words."""
        if self.stopped:
            return Verdict(DOWN, "Stopped", "Stopped")
        old = [name for name in self.serving if name != self.wanted]
        keeps = f" Revision {' and '.join(old)} keeps serving." if old else ""
        if self.refusal is not None:
            return Verdict(DOWN, self.refusal.reason, self.refusal.message + keeps)
        if self.latest is not None and self.latest.rejected:
            return Verdict(DOWN, "RevisionRejected", self.latest.rejected + keeps)
        if self.fell:
            text = f"Revision {self.wanted} failed soon after it was ready: {self.fell}.{keeps}"
            return Verdict(DOWN, "RevisionFailed", text)
        wanted, trouble = self.wanted, self.trouble
        ready, count = self.ready(wanted), self.counts.get(wanted, 0)
        there = self.split.goal == self.split.now.shares and self.up
        if there and (ready or self.asleep(wanted)) and self.failure is None:
            if all(name in self.routed for name in self.serving):
                return Verdict(UP)
            text = f"Revision {wanted} is ready; the gateway is being told to send to it."
            return Verdict(WAITS, "RevisionMissing", text)
        if trouble is not None:
            elsewhere = keeps or (f" It serves with {ready} of {count} replicas." if ready else "")
            return Verdict(
                DOWN, "RevisionFailed", f"Revision {wanted} failed with message: {trouble.message}{elsewhere}"
            )
        if self.fetching:
            text = f"Revision {wanted} waits for its model to be fetched. {self.download}"
            return Verdict(WAITS, "ModelFetching", text.rstrip())
        waits = next(filter(None, map(unscheduled, self.of(wanted))), "")
        if waits:
            return Verdict(WAITS, UNSCHEDULABLE, f"Revision {wanted} waits for room: {waits}{keeps}")
        return Verdict(WAITS, "RevisionMissing", f"Revision {wanted}: {ready} of {count} replicas are ready.")


def crash(pods: Sequence[dict[str, Any]], revision: str) -> Failure | None:
    """Why the processes of a revision do not get ready; None if they may yet."""
    for pod in pods:  # what concerns all of them comes before what one of them died of
        waiting = (troubled(pod).get("state") or {}).get("waiting") or {}
        if waiting.get("reason") == safety.REFUSED:
            return Failure("ModelLoadFailed", waiting.get("message", ""), pod["metadata"]["name"], revision)
    for pod in pods:
        if is_ready(pod):
            continue
        if never_fits(pod):
            return Failure("RuntimeUnhealthy", unscheduled(pod), pod["metadata"]["name"], revision)
        container = troubled(pod)
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended and (waiting.get("reason") == CRASH_LOOP or container.get("restartCount")):
            return Failure(
                "ModelLoadFailed" if ended.get("reason") == "ModelLoadFailed" else "RuntimeUnhealthy",
                ended.get("message") or f"the process exited with {ended.get('exitCode')}",
                location=pod["metadata"]["name"],
                revision=revision,
                time=ended.get("finishedAt", ""),
                exit_code=ended.get("exitCode"),
            )
        if waiting.get("reason") in ("RunContainerError", "CreateContainerConfigError"):
            return Failure("RuntimeUnhealthy", waiting.get("message", ""), pod["metadata"]["name"], revision)
    return None
