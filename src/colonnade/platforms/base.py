"""The contract between the control plane and the place where replicas run.

A platform is level-triggered from the outside: the control plane says what shall run, reads states, and is told only
that something about a key changed. So a restarted control plane, which has missed changes, works like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from colonnade import defaults
from colonnade.platforms.budget import Held
from colonnade.platforms.limits import Limits

PROBE_TIMEOUT = 2.0
PROBE_FAILURES = 3
PROBE_PERIOD = 10.0

ProbeKind = Literal["http", "tcp", "exec", "none"]


class Probe(msgspec.Struct, frozen=True):
    """How to ask a replica whether it is ready, or whether it is alive.

    Attributes:
        kind: `http` asks `paths`, `tcp` opens a connection, `exec` runs `command`; with `none` a living one is ready.
        address: `unix:/path` or `host:port`, for `http` and `tcp`.
        paths: asked in order; a path unknown to the replica (404, 405, 501) passes the question to the next one.
        command: for `exec`; exit code 0 means yes.
        timeout: seconds one question may take.
        failures: failed questions in a row after which a ready replica is no longer ready, or a living one is stuck.
        initial_delay: seconds from the start of the process to the first question.
        period: seconds between questions for liveness; when to ask for readiness is decided by the answers.
        once_ready: ask for liveness only after the replica has been ready.
    """

    kind: ProbeKind = "none"
    address: str = ""
    paths: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    timeout: float = PROBE_TIMEOUT
    failures: int = PROBE_FAILURES
    initial_delay: float = 0.0
    period: float = PROBE_PERIOD
    once_ready: bool = False


class Seed(msgspec.Struct, frozen=True):
    """A process that can fork a replica, which then needs no time for imports.

    Attributes:
        argv: starts it, given a socket: see `colonnade.net.forking`.
        env: the part of the replica's variables that counts while modules are imported.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = {}

    @property
    def key(self) -> bytes:
        """Equal for seeds that can stand for each other."""
        return msgspec.json.encode(self, order="deterministic")


class ReplicaSpec(msgspec.Struct, frozen=True):
    """One replica to run.

    Attributes:
        name: the pod's name, unique in its namespace.
        argv: program and arguments, nothing left to expand.
        env: added to the clean part of the platform's own environment.
        cwd: working directory, or None for the replica's own folder.
        probe: asks whether it is ready.
        liveness: asks whether it is alive, or None if its process being there is enough.
        http: where it will speak HTTP/1.1: `unix:/path` or `host:port`.
        grpc: where it will speak gRPC, or None.
        grace: seconds from SIGTERM to SIGKILL.
        termination: file the replica may write before it fails: JSON `{"reason", "message", "location", "exitCode"}`.
        seed: what can fork it, or None if it is always started as a program.
        held: what it was admitted with; noted here, so that it is known after a restart of the control plane.
        limits: what it may use at most.
        container: the name of a process that stands behind the pod's first one and takes no requests of others; ""
            for the first.
    """

    name: str
    namespace: str
    argv: tuple[str, ...]
    http: str
    env: dict[str, str] = {}
    cwd: str | None = None
    probe: Probe = Probe()
    liveness: Probe | None = None
    grpc: str | None = None
    grace: float = defaults.GRACE_PERIOD
    termination: str | None = None
    seed: Seed | None = None
    held: Held = Held()
    limits: Limits = Limits()
    container: str = ""

    @property
    def key(self) -> str:
        """`namespace/name`, and of a process behind the pod's first one `namespace/name:container`."""
        return replica_key(f"{self.namespace}/{self.name}", self.container)


def replica_key(pod: str, container: str = "") -> str:
    """What a platform calls a process of a pod (`namespace/name`)."""
    return f"{pod}:{container}" if container else pod


def pod_of(key: str) -> str:
    """The pod, as `namespace/name`, of a process that a platform calls so."""
    return key.partition(":")[0]


class Termination(msgspec.Struct, frozen=True, rename="camel"):
    """What a replica wrote about its own end."""

    reason: str = ""
    message: str = ""
    location: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What is known about one replica now.

    Attributes:
        pid: process id, also of the process group; None if the process never came to life.
        started: Unix time of the start.
        finished: Unix time at which the end was seen, or None while it runs.
        exit_code: None while it runs, when a signal ended it, and when the process was adopted and left no word.
        signal: the signal that ended it, or None.
        ready: whether the last probes say that it takes requests.
        ready_since: Unix time since which it is ready, or None.
        reason: why it is not ready, in words.
        stuck: why its liveness probe has failed, in words; empty as long as it has not. It is not ended for that here.
        termination: what the replica wrote about its end, if it did.
        out_of_memory: with which limit it was ended for its memory, in words; empty if it was not.
    """

    spec: ReplicaSpec
    pid: int | None
    started: float
    running: bool
    finished: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    ready: bool = False
    ready_since: float | None = None
    reason: str = ""
    stuck: str = ""
    termination: Termination | None = None
    out_of_memory: str = ""


@dataclass(frozen=True, slots=True)
class LogPaths:
    """Files with a replica's output, stdout and stderr merged in order. Either may not exist."""

    current: Path
    previous: Path


class Platform(Protocol):
    """Where replicas run. Keys are those of `ReplicaSpec.key`."""

    async def adopt(self) -> None:
        """Take over what an earlier control plane left running, and end what nobody knows. Call once, first."""

    async def start(self, spec: ReplicaSpec) -> None:
        """Start a replica that does not run.

        Raises:
            errors.AlreadyExists: a process of this key runs.
            errors.LoadFailed: the program cannot be started; the message names it.
        """

    async def stop(self, key: str, grace: float | None = None) -> None:
        """End a replica: SIGTERM, then SIGKILL after `grace` seconds (default: the spec's). Its output stays."""

    async def forget(self, key: str) -> None:
        """Remove what is kept of a replica that does not run: state, output, files."""

    def sweep(self, kept: Iterable[str]) -> None:
        """Remove what is kept of all other replicas, of those that it does not know too, but for those that run."""

    def get(self, key: str) -> ReplicaState | None:
        """The state of one replica, or None if the platform knows nothing of it."""

    def list(self) -> list[ReplicaState]:
        """The states of all known replicas."""

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(key)` after each change of a replica's state; the result ends the subscription."""

    def folder(self, key: str) -> Path:
        """The replica's own folder, which exists while the platform knows the replica."""

    def log_paths(self, key: str) -> LogPaths:
        """Where the output of a replica lies."""
