"""Which revisions of a component run, with how many replicas, and which shares of the traffic they get. Pure.

Two steps. `split` says where the traffic goes: the manifest names a goal, and the traffic moves there only once every
revision that the goal sends to can serve; until then, and for good if one never gets there, it stays where it is. Both
of KServe's dialects end up as one goal: `canaryTrafficPercent` divides the traffic between the latest revision and the
one before it (promote: leave it out; pin or roll back: 0), the list `spec.canary` gives shares to variants. `pods` then
says which replicas are missing and which are too many. Nothing is removed that the gateway may still send to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from colonnade.control.workload import revisions
from colonnade.control.workload.podstatus import is_ready

LATEST, PREVIOUS = "latest", "prev"


class Share(NamedTuple):
    """Percent of the requests for one revision, by its name. `tag` is Knative's: `latest`, `prev` or none."""

    revision: str
    percent: int
    tag: str = ""


class Wish(NamedTuple):
    """What the manifest asks for.

    Attributes:
        latest: the revision of the stable template; "" if there is none that could run.
        percent: of the stable traffic for the latest revision; the rest stays with the one before it.
        variants: revisions of `spec.canary`, each with its percent.
        tagged: an entry of 0 percent is kept, since its tag has a host of its own.
    """

    latest: str
    percent: int = 100
    variants: tuple[tuple[str, int], ...] = ()
    tagged: bool = False


class Past(NamedTuple):
    """What the status remembers: the revision that was rolled out last, the one before it, and who gets what."""

    rolledout: str = ""
    previous: str = ""
    shares: tuple[Share, ...] = ()


def past(isvc: Mapping[str, Any], component: str) -> Past:
    """What the status of a service remembers of a component."""
    found = ((isvc.get("status") or {}).get("components") or {}).get(component) or {}
    shares = (
        Share(str(each["revisionName"]), int(each.get("percent") or 0), str(each.get("tag") or ""))
        for each in found.get("traffic") or []
    )
    return Past(
        str(found.get("latestRolledoutRevision") or ""),
        str(found.get("previousRolledoutRevision") or ""),
        tuple(shares),
    )


class Split(NamedTuple):
    """Where the traffic goes from now on.

    Attributes:
        now: what the gateway is told.
        goal: what the manifest asks for; the same as `now` once all of it can serve.
    """

    now: Past
    goal: tuple[Share, ...]

    @property
    def named(self) -> frozenset[str]:
        """The revisions that run: those that get requests now or shall get some."""
        return frozenset(share.revision for share in (*self.now.shares, *self.goal))


NOWHERE = Split(Past(), ())


def replicas(component: Mapping[str, Any]) -> int:
    """How many replicas a component asks for without an autoscaler: `minReplicas`, at least one."""
    return max(1, int(component.get("minReplicas") or 1))


def split(
    wish: Wish, past: Past, *, ready: Callable[[str], bool], serves: Callable[[str], bool], known: Callable[[str], bool]
) -> Split:
    """Decide where the traffic goes.

    Args:
        wish: what the manifest asks for.
        past: what was decided before.
        ready: whether a revision has all its replicas, or needs none now and had some.
        serves: whether a revision has a replica that takes requests.
        known: whether a revision can be run again.
    """
    base = past.rolledout if past.rolledout != wish.latest else past.previous
    if base and not known(base):
        base = ""
    goal = _goal(wish, base, past, ready)
    stays = tuple(share for share in past.shares if known(share.revision))
    movable = all(ready(share.revision) for share in goal if share.percent)
    stuck = not any(serves(share.revision) for share in stays if share.percent)
    if goal and not movable and stuck:  # what serves now is dead or was never there: whoever of the goal lives serves
        movable = all(serves(share.revision) for share in goal if share.percent)
    if not goal or not movable:
        return Split(Past(past.rolledout, past.previous, stays), goal)
    stable = 100 - sum(share.percent for share in goal if share.revision in dict(wish.variants))
    whole = any(share.revision == wish.latest and share.percent == stable for share in goal) and stable > 0
    if whole and past.rolledout != wish.latest:
        return Split(Past(wish.latest, past.rolledout or past.previous, goal), goal)
    return Split(Past(past.rolledout or wish.latest, past.previous, goal), goal)


def _goal(wish: Wish, base: str, past: Past, ready: Callable[[str], bool]) -> tuple[Share, ...]:
    """The traffic that is wanted. A variant that is not ready gets none, and the stable revision has its share."""
    ways = [Share(name, percent) for name, percent in wish.variants if ready(name)]
    rest = 100 - sum(share.percent for share in ways)
    waiting = [Share(name, 0) for name, _ in wish.variants if not ready(name)]
    if not wish.latest:
        return ()
    if wish.percent >= 100 or not base:
        return (Share(wish.latest, rest, LATEST), *ways, *waiting)
    latest = round(rest * wish.percent / 100)
    stable = [Share(wish.latest, latest, LATEST), Share(base, rest - latest, PREVIOUS)]
    return (*stable, *ways, *waiting)


class Change(NamedTuple):
    """What to do with the pods of one component.

    Attributes:
        create: how many pods of which revision are missing.
        retire: pods to take out of the traffic and then to remove.
    """

    create: dict[str, int]
    retire: tuple[dict[str, Any], ...]


def pods(found: Sequence[dict[str, Any]], counts: Mapping[str, int]) -> Change:
    """Decide which replicas come and go.

    Args:
        found: all pods of the component, those on their way out included.
        counts: replicas wanted of each revision that shall run, by its name.
    """
    create: dict[str, int] = {}
    kept: set[str] = set()
    for revision, count in counts.items():
        mine = [pod for pod in found if revisions.of_pod(pod) == revision and not revisions.draining(pod)]
        create[revision] = max(0, count - len(mine))
        surplus = len(mine) - count
        best = sorted(mine, key=_worth)[max(0, surplus) :]
        kept |= {pod["metadata"]["name"] for pod in best}
    retire = tuple(pod for pod in found if pod["metadata"]["name"] not in kept)
    return Change({name: count for name, count in create.items() if count}, retire)


def _worth(pod: dict[str, Any]) -> tuple[bool, tuple[int, ...], str]:
    """What goes first when there are too many: what is not ready, then the youngest."""
    created = str(pod["metadata"].get("creationTimestamp", ""))
    return is_ready(pod), tuple(-ord(letter) for letter in created), pod["metadata"]["name"]
