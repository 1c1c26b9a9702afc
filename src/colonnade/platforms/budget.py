"""Who of those that wait may run on this machine, on which cores and devices, and who makes room for them. Pure.

A replica claims an amount of each resource. Amounts are whole numbers (thousandths of cores and of devices, bytes), so
that sums are exact. Those who wait are taken by priority and then by age; one that does not fit keeps what it could
have from all that come after it, so that small ones never overtake a large one for good. What can never fit takes part
in nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

MILLI = 1000
CPU, MEMORY, GPU = "cpu", "memory", "gpu"


class Claim(msgspec.Struct, frozen=True):
    """What one replica needs to be admitted.

    Attributes:
        cpu: thousandths of a core.
        memory: bytes.
        gpu: thousandths of a device: whole devices, or less than one.
        pinned: whole cores that it shall run on and on no others; 0 for all.
        others: resources that this machine has none of, by their Kubernetes names.
    """

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    pinned: int = 0
    others: tuple[tuple[str, int], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it claims nothing: such a one always fits."""
        return self == Claim()


class Held(msgspec.Struct, frozen=True):
    """A claim that was admitted, and where.

    Attributes:
        cores: the cores that it runs on; none for all.
        gpus: its devices by their ids, each with the thousandths that it has of it.
    """

    claim: Claim = Claim()
    cores: tuple[int, ...] = ()
    gpus: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Machine:
    """What there is, and how much more than that may be claimed in all.

    Attributes:
        cores: numbers of the cores that may be used.
        cpu: thousandths of cores.
        memory: bytes.
        gpus: ids of the devices.
        overcommit_cpu, overcommit_memory: how many times as much may be claimed; one replica never gets more than
            there is.
    """

    cores: tuple[int, ...]
    cpu: int
    memory: int
    gpus: tuple[str, ...] = ()
    overcommit_cpu: float = 1.0
    overcommit_memory: float = 1.0

    @property
    def there(self) -> dict[str, int]:
        """What there is of each resource."""
        return {CPU: self.cpu, MEMORY: self.memory, GPU: MILLI * len(self.gpus)}

    @property
    def claimable(self) -> dict[str, int]:
        """What may be claimed of each resource, by all together."""
        there = self.there
        there[CPU] = int(there[CPU] * self.overcommit_cpu)
        there[MEMORY] = int(there[MEMORY] * self.overcommit_memory)
        return there


class Shortage(NamedTuple):
    """A resource of which there is not enough. `whole` is what there could be; all in the claim's unit."""

    resource: str
    requested: int
    free: int
    whole: int


class Lack(NamedTuple):
    """Why a claim does not fit now; `never` if it would not fit an empty machine either."""

    shortages: tuple[Shortage, ...]
    never: bool


@dataclass(frozen=True)
class Waiting:
    """One that wants to run. `since` is any order of age: a smaller one came earlier."""

    key: str
    claim: Claim
    since: float = 0.0
    priority: int = 0


@dataclass(frozen=True)
class Idle:
    """What nobody uses now and what comes back when it is asked for.

    Attributes:
        key: names it.
        used: when it was last used; a smaller one is longer ago.
        members: keys of what it holds.
    """

    key: str
    used: float
    members: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """A decision on all who wait: each is in `admit` or in `lacks`."""

    admit: Mapping[str, Held] = field(default_factory=dict)
    lacks: Mapping[str, Lack] = field(default_factory=dict)


def place(machine: Machine, held: Sequence[Held], claim: Claim) -> Held | Lack:
    """Find room for a claim beside what is held, or say what is missing.

    Whole devices are the ones that nobody else has a share of. A share goes to the device with the least that is still
    enough, so that whole devices stay whole. Cores are those that the least is claimed of.
    """
    if claim.empty:
        return Held()
    never = _shortages(machine.there, (), claim)
    if never:
        return Lack(never, never=True)
    claimable = machine.claimable
    missing = _shortages(claimable, held, claim)
    gpus = _devices(machine, held, claim.gpu)
    if gpus is None and not any(each.resource == GPU for each in missing):  # enough in all, but in pieces
        missing = (*missing, Shortage(GPU, claim.gpu, _best(machine, held, claim.gpu), claimable[GPU]))
    if missing or gpus is None:
        return Lack(missing, never=False)
    return Held(claim, _cores(machine, held, claim), gpus)


def schedule(machine: Machine, held: Iterable[Held], waiting: Iterable[Waiting]) -> Plan:
    """Decide on all who wait, the first in line first."""
    each_taken = list(held)
    taken, kept = _together(each_taken), Held()  # kept by those who were passed over
    admit: dict[str, Held] = {}
    lacks: dict[str, Lack] = {}
    for one in in_line(waiting):
        found = place(machine, (taken, kept), one.claim)
        if isinstance(found, Held):
            found = Held(found.claim, _cores(machine, each_taken, one.claim), found.gpus)
            admit[one.key] = found
            each_taken.append(found)
            taken = _together((taken, found))
            continue
        now = place(machine, (taken,), one.claim)  # what it is told is missing is not what others wait for
        lacks[one.key] = now if isinstance(now, Lack) else found
        if not found.never:
            kept = _together((kept, Held(one.claim, (), _wanted(machine, (taken, kept), one.claim.gpu))))
    return Plan(admit, lacks)


def _together(held: Iterable[Held]) -> Held:
    """The sum of amounts and of parts of devices: a long line is decided on without adding all up for each in it."""
    cpu = memory = gpu = 0
    gpus: dict[str, int] = {}
    for each in held:
        cpu, memory, gpu = cpu + each.claim.cpu, memory + each.claim.memory, gpu + each.claim.gpu
        for device, share in each.gpus:
            gpus[device] = gpus.get(device, 0) + share
    return Held(Claim(cpu, memory, gpu), (), tuple(gpus.items()))


def in_line(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Those who wait, the first in line first."""
    return sorted(waiting, key=lambda one: (-one.priority, one.since, one.key))


def evict(machine: Machine, held: Mapping[str, Held], claim: Claim, idle: Iterable[Idle]) -> tuple[Idle, ...]:
    """Which idle ones shall go so that a claim fits: none if it fits, or if all of them would not be enough.

    They are taken by least recent use. Those of which it turns out that the claim fits with them are spared again, the
    most recently used first.
    """
    chosen: list[Idle] = []
    for one in sorted(idle, key=lambda each: (each.used, each.key)):
        if _fits(machine, held, claim, chosen):
            break
        chosen.append(one)
    if not chosen or not _fits(machine, held, claim, chosen):
        return ()
    for one in reversed(chosen[:-1]):
        without = [each for each in chosen if each is not one]
        if _fits(machine, held, claim, without):
            chosen = without
    return tuple(chosen)


def _fits(machine: Machine, held: Mapping[str, Held], claim: Claim, gone: Iterable[Idle]) -> bool:
    members = {key for one in gone for key in one.members}
    rest = [each for key, each in held.items() if key not in members]
    return isinstance(place(machine, rest, claim), Held)


def _shortages(whole_of: Mapping[str, int], held: Sequence[Held], claim: Claim) -> tuple[Shortage, ...]:
    found = []
    for resource, whole in whole_of.items():
        requested = getattr(claim, resource)
        free = max(0, whole - sum(getattr(each.claim, resource) for each in held))
        if requested > free:
            found.append(Shortage(resource, requested, free, whole))
    found += [Shortage(name, amount, 0, 0) for name, amount in claim.others if amount]
    return tuple(found)


def _left(machine: Machine, held: Iterable[Held]) -> dict[str, int]:
    """The thousandths of each device that nobody has."""
    left = dict.fromkeys(machine.gpus, MILLI)
    for each in held:
        for device, share in each.gpus:
            if device in left:  # one that is gone since is nobody's
                left[device] = max(0, left[device] - share)
    return left


def _devices(machine: Machine, held: Iterable[Held], wanted: int) -> tuple[tuple[str, int], ...] | None:
    """Devices for so many thousandths; None if there are none."""
    left = _left(machine, held)
    if not wanted:
        return ()
    if wanted < MILLI:
        enough = [device for device in machine.gpus if left[device] >= wanted]
        best = min(enough, key=lambda device: left[device], default=None)
        return None if best is None else ((best, wanted),)
    whole = [device for device in machine.gpus if left[device] == MILLI]
    count = wanted // MILLI
    return None if len(whole) < count else tuple((device, MILLI) for device in whole[:count])


def _wanted(machine: Machine, held: Iterable[Held], wanted: int) -> tuple[tuple[str, int], ...]:
    """The devices that one who waits shall have: those of which the most is left, with all that is left of them."""
    left = _left(machine, held)
    count = -(-wanted // MILLI)
    freest = sorted(machine.gpus, key=lambda device: -left[device])[:count]
    return tuple((device, left[device]) for device in freest)


def _best(machine: Machine, held: Iterable[Held], wanted: int) -> int:
    """The most that one asking for `wanted` could have of the devices."""
    left = _left(machine, held)
    if wanted < MILLI:
        return max(left.values(), default=0)
    return MILLI * sum(share == MILLI for share in left.values())


def _cores(machine: Machine, held: Iterable[Held], claim: Claim) -> tuple[int, ...]:
    if not claim.pinned or claim.pinned >= len(machine.cores):
        return ()
    load = dict.fromkeys(machine.cores, 0.0)
    for each in held:
        for core in each.cores:
            if core in load:
                load[core] += max(each.claim.cpu, 1) / len(each.cores)
    return tuple(sorted(sorted(machine.cores, key=lambda core: load[core])[: claim.pinned]))
