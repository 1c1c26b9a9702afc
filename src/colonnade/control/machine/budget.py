"""The ledger of the machine: which pods were admitted, and where, and which wait.

A pod is admitted before its process is started, and gives back what it holds when its process is gone; in between it
keeps it, crash loops included, so that nobody takes its place while it restarts. The decisions are those of
`platforms.budget`. The ledger is not stored: after a restart it is read off the replicas that run, whose specs say what
they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from colonnade import defaults
from colonnade.control.workload import claims
from colonnade.control.workload.podstatus import Unschedulable
from colonnade.control.workqueue import Key
from colonnade.platforms import machine as discovered
from colonnade.platforms.base import ReplicaState, pod_of
from colonnade.platforms.budget import Held, Lack, Machine, Plan, Waiting, in_line, schedule

ARRIVAL = 1e-6  # of a second: pods of one second are in the order in which they were seen


@dataclass(frozen=True)
class Offer:
    """What the platform may give its replicas; None is what the machine has.

    Attributes:
        cpu: thousandths of cores.
        memory: bytes.
        gpus: devices, by their indexes from 0.
        overcommit: times that `cpu` and `memory` may be claimed.
    """

    cpu: int | None = None
    memory: int | None = None
    gpus: int | None = None
    overcommit: Mapping[str, float] = field(default_factory=dict)

    def machine(self, environment: Mapping[str, str]) -> Machine:
        """What there is of it."""
        devices = discovered.gpus(environment) if self.gpus is None else tuple(map(str, range(self.gpus)))
        return Machine(
            discovered.cores(),
            discovered.cpu() if self.cpu is None else self.cpu,
            discovered.memory() if self.memory is None else self.memory,
            devices,
            self.overcommit.get("cpu", defaults.OVERCOMMIT_CPU),
            self.overcommit.get("memory", defaults.OVERCOMMIT_MEMORY),
        )


class Budget:
    """Admits pods. Belongs to one event loop."""

    def __init__(
        self, machine: Machine, look: Callable[[Key], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        """`look` asks for another look at a pod; `changed` is told when what is held has changed."""
        self.machine = machine
        self._look = look
        self._changed = changed
        self._held: dict[str, Held] = {}
        self._waiting: dict[str, Waiting] = {}
        self._lacks: dict[str, Lack] = {}
        self._arrived = 0

    def adopt(self, found: Iterable[ReplicaState]) -> None:
        """Take over what replicas hold that run already. They stay, also where they are too many for the machine."""
        self._held |= {pod_of(state.spec.key): state.spec.held for state in found if state.running}
        self._changed()

    @property
    def held(self) -> Mapping[str, Held]:
        """What was admitted, by the pod's key."""
        return self._held

    @property
    def waiting(self) -> list[tuple[Waiting, Lack]]:
        """Who waits and what each lacks, the first in line first."""
        return [(one, self._lacks[one.key]) for one in in_line(self._waiting.values()) if one.key in self._lacks]

    def admit(self, key: Key, pod: Mapping[str, Any]) -> Held | Unschedulable:
        """What a pod holds from now on, or why it waits. It is looked at again when that changes.

        Raises:
            errors.InvalidInput: what it asks for cannot be read.
        """
        name = str(key)
        if name not in self._held and name not in self._waiting:
            self._arrived += 1
            since = _created(pod) + self._arrived * ARRIVAL
            priority = int(pod["spec"].get("priority") or 0)
            self._waiting[name] = Waiting(name, claims.of(pod), since, priority)
            self.settle(spared=name)  # one that waited already is settled by what changes
        if name in self._held:
            return self._held[name]
        lack = self._lacks[name]
        return Unschedulable(claims.unschedulable(lack, self.machine), lack.never)

    def release(self, key: Key) -> None:
        """A pod is gone, and its process."""
        name = str(key)
        waited = self._waiting.pop(name, None)
        self._lacks.pop(name, None)
        if self._held.pop(name, None) is not None or waited is not None:
            self.settle()
            self._changed()

    def settle(self, spared: str = "") -> None:
        """Decide on all who wait. Those for whom something has changed are looked at, but for the one `spared`."""
        if not self._waiting:
            return
        plan: Plan = schedule(self.machine, self._held.values(), self._waiting.values())
        before, self._lacks = self._lacks, dict(plan.lacks)
        for name, held in plan.admit.items():
            self._held[name] = held
            del self._waiting[name]
        moved = [*plan.admit, *(name for name, lack in plan.lacks.items() if before.get(name) != lack)]
        for name in moved:
            if name != spared:
                self._look(key_of(name))
        if plan.admit:
            self._changed()


def key_of(text: str) -> Key:
    """The key that a platform's `namespace/name` stands for."""
    namespace, _, name = text.partition("/")
    return Key(namespace, name)


def _created(pod: Mapping[str, Any]) -> float:
    text = pod["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(text).timestamp() if text else 0.0
