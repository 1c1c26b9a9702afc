"""Replicas as processes of this machine.

Each replica leads its own session and writes its output to a file, so it needs nothing from the control plane to go on:
`kill -9` of the control plane leaves it serving. `LocalPlatform` is a thin shell over `process` (kernel), `records`
(disk) and `probing` (protocol); it is an async context manager because it owns the tasks that probe.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import msgspec

from colonnade import defaults, errors
from colonnade.net import Address, Upstream
from colonnade.platforms import memory, probing, process
from colonnade.platforms.base import LogPaths, Probe, ReplicaSpec, ReplicaState, Seed
from colonnade.platforms.limits import Limiter
from colonnade.platforms.pool import Pool
from colonnade.platforms.process import Child, Process
from colonnade.platforms.records import OUTPUT, ROTATION_PERIOD, Record, Records, oversized, rotate

log = logging.getLogger(__name__)

_ADOPTED = probing.Health(ready=True, reason="")


@dataclasses.dataclass(slots=True)
class _Replica:
    """One known replica: its last state, and its process and those who ask it while it runs."""

    record: Record
    state: ReplicaState
    process: Process | None = None
    probers: tuple[asyncio.Task[None], ...] = ()


class LocalPlatform:
    """Implements `base.Platform`. Use as `async with LocalPlatform(state_dir) as platform:` and call `adopt` first.

    Leaving the context stops watching and probing; the replicas run on.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        log_bytes: int = defaults.LOG_FILE_BYTES,
        spared: frozenset[str] = frozenset(),
        seeds: int = defaults.POOL_SEEDS,
        limiter: Limiter | None = None,
    ) -> None:
        """`spared` names runs that carry our mark and are not replicas: `adopt` leaves them alone. Up to `seeds`
        processes are kept that fork replicas, see `pool`."""
        self._mark = str(state_dir.resolve())
        self._records = Records(state_dir / "replicas")
        self.pool = Pool(self._mark, state_dir, seeds)
        self._log_bytes = log_bytes
        self._spared = spared
        self._limiter = limiter or Limiter(None)
        self._replicas: dict[str, _Replica] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._group = asyncio.TaskGroup()
        self._keepers: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> LocalPlatform:
        await self._group.__aenter__()
        self._keepers = (self._group.create_task(self._rotate()), self._group.create_task(self._keep_memory()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self._replicas.values():
            for prober in replica.probers:
                prober.cancel()
            if replica.process is not None:
                replica.process.release()
        for keeper in self._keepers:
            keeper.cancel()
        await self.pool.close()
        if kind is asyncio.CancelledError:  # maybe because a task of the group failed: it knows
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)  # what the body raised is raised as it is

    async def adopt(self) -> None:
        """See `Platform.adopt`. Replicas that died meanwhile are listed as ended; those stopped on purpose are not.

        An adopted replica is believed ready until it says otherwise, so that a busy one loses no traffic.
        """
        records = [record for record in self._records.load() if record.identity is not None and not record.stopped]
        lost = process.strays(self._mark, {record.run for record in records} | self._spared)
        if lost:
            log.warning("ending processes that no record knows", extra={"pids": [found.pid for found in lost]})
            process.kill(lost)
        self.pool.open()
        adopted = [replica for record in records if (replica := self._take_over(record)) is not None]
        healths = await asyncio.gather(*(self._question(replica, _ADOPTED) for replica in adopted))
        for replica, health in zip(adopted, healths, strict=True):
            if replica.state.running:
                self._believe(replica, health)
                self._watch(replica, health)

    def _take_over(self, record: Record) -> _Replica | None:
        assert record.identity is not None
        replica = _Replica(record, ReplicaState(record.spec, record.identity.pid, record.started, running=True))
        self._replicas[record.spec.key] = replica
        try:
            replica.process = Process(record.identity, lambda: self._ended(replica))
        except ProcessLookupError:
            self._ended(replica)
            return None
        log.info("adopted a running replica", extra={"replica": record.spec.key, "pid": record.identity.pid})
        return replica

    async def start(self, spec: ReplicaSpec) -> None:
        """See `Platform.start`."""
        known = self._replicas.get(spec.key)
        if known is not None and known.state.running:
            raise errors.AlreadyExists(f"Replica {spec.key} runs already, as process {known.state.pid}; stop it first.")
        record = Record(spec, run=secrets.token_hex(8), started=time.time())
        self._records.begin(spec.key)
        self._records.save(record)
        folder = self._records.folder(spec.key)
        child = await self._born(record, Path(spec.cwd or folder), folder / OUTPUT)
        self._limiter.apply(child.pid, record.run, spec.limits)
        try:
            replica = _Replica(record, ReplicaState(spec, child.pid, record.started, running=True))
            replica.process = Process.of_child(child, lambda: self._ended(replica))
            replica.record = msgspec.structs.replace(record, identity=replica.process.identity)
            self._records.save(replica.record)
        except BaseException:
            child.kill()
            child.reap(lambda code: None)
            raise
        self._replicas[spec.key] = replica
        self._watch(replica, probing.Health())
        log.info("started a replica", extra={"replica": spec.key, "pid": child.pid})
        self._changed(spec.key)

    async def _born(self, record: Record, cwd: Path, output: Path) -> Child:
        """The process of a replica: forked if there is a seed for it, else started."""
        spec, env = record.spec, self._environment(record)
        if spec.seed is not None:
            forked = await self.pool.fork(spec.seed, spec.argv, env, cwd, output)
            if forked is not None:
                return forked
        return process.spawn(spec.argv, env=env, cwd=cwd, output=output)

    def plant(self, seed: Seed) -> None:
        """Have a process that can fork replicas, so that their starts are quick. See `pool`."""
        self.pool.want(seed, 0.0)

    async def stop(self, key: str, grace: float | None = None) -> None:
        """See `Platform.stop`. The end is no crash: the next control plane does not list the replica."""
        replica = self._replicas.get(key)
        if replica is None:
            return
        replica.record = msgspec.structs.replace(replica.record, stopped=True)
        try:
            self._records.save(replica.record)
        except (
            OSError
        ) as error:  # the disk is full or gone: the next control plane sees a crash, and that it ends counts
            log.error("a stop could not be written down", extra={"replica": key, "error": str(error)})
        if replica.process is not None and replica.state.running:
            await replica.process.end(replica.state.spec.grace if grace is None else grace)

    async def forget(self, key: str) -> None:
        """See `Platform.forget`."""
        replica = self._replicas.get(key)
        if replica is not None and replica.state.running:
            raise errors.Conflict(f"Replica {key} runs, as process {replica.state.pid}; stop it before forgetting it.")
        self._replicas.pop(key, None)
        self._records.remove(key)

    def sweep(self, kept: Iterable[str]) -> None:
        """See `Platform.sweep`."""
        running = {key for key, replica in self._replicas.items() if replica.state.running}
        spared = running | set(kept)
        self._replicas = {key: replica for key, replica in self._replicas.items() if key in spared}
        self._records.keep(spared)

    def get(self, key: str) -> ReplicaState | None:
        """See `Platform.get`."""
        replica = self._replicas.get(key)
        return None if replica is None else replica.state

    def list(self) -> list[ReplicaState]:
        """See `Platform.list`."""
        return [replica.state for replica in self._replicas.values()]

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """See `Platform.subscribe`."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def folder(self, key: str) -> Path:
        """See `Platform.folder`."""
        return self._records.folder(key)

    def log_paths(self, key: str) -> LogPaths:
        """See `Platform.log_paths`."""
        return self._records.logs(key)

    def _environment(self, record: Record) -> dict[str, str]:
        return process.environment(os.environ, {**record.spec.env, **process.marks(self._mark, record.run)})

    def _changed(self, key: str) -> None:
        for callback in tuple(self._callbacks):
            callback(key)

    def _ended(self, replica: _Replica) -> None:
        """The process is gone: say how, and end what it left behind, sessions of their own included."""
        process.kill(process.of_run(self._mark, replica.record.run))
        for prober in replica.probers:
            prober.cancel()
        ended = replica.process
        termination = self._records.termination(replica.record.spec)
        code = ended.exit_code if ended is not None else None
        if code is None and (ended is None or ended.signal is None) and termination is not None:
            code = termination.exit_code  # adopted: only its parent is told the code
        replica.state = dataclasses.replace(
            replica.state,
            running=False,
            ready=False,
            ready_since=None,
            finished=time.time(),
            exit_code=code,
            signal=ended.signal if ended is not None else None,
            reason="the process has ended",
            termination=termination,
            out_of_memory=replica.state.out_of_memory or self._ended_for_memory(replica.record),
        )
        self._limiter.forget(replica.record.run)
        log.info(
            "a replica ended",
            extra={"replica": replica.record.spec.key, "pid": replica.state.pid, "exit_code": code}
            | {"signal": replica.state.signal, "on_purpose": replica.record.stopped},
        )
        self._changed(replica.record.spec.key)

    def _ended_for_memory(self, record: Record) -> str:
        """In words, if the kernel did so."""
        if not self._limiter.ended_for_memory(record.run):
            return ""
        return f"it needed more memory than its limit of {record.spec.limits.memory} bytes"

    async def _keep_memory(self) -> None:
        """End replicas that have more memory than their limit, where no cgroup does so."""
        while True:
            await asyncio.sleep(defaults.MEMORY_LOOK)
            watched = {
                replica.state.pid: replica
                for replica in self._replicas.values()
                if replica.state.running
                and replica.state.pid is not None
                and replica.record.spec.limits.memory
                and not self._limiter.confines(replica.record.run)
            }
            if not watched:
                continue
            limits = {pid: replica.record.spec.limits.memory for pid, replica in watched.items()}
            for pid, used in (await asyncio.to_thread(memory.over, limits)).items():
                replica = watched[pid]
                if replica.process is not None and replica.state.running:
                    text = f"it had {used} bytes of memory, and its limit is {limits[pid]} bytes"
                    log.warning(
                        "a replica has too much memory", extra={"replica": replica.state.spec.key, "used": used}
                    )
                    replica.state = dataclasses.replace(replica.state, out_of_memory=text)
                    replica.process.send(signal.SIGKILL)

    def _watch(self, replica: _Replica, health: probing.Health) -> None:
        probers = [self._group.create_task(self._probe(replica, health))]
        liveness = replica.record.spec.liveness
        if liveness is not None:
            probers.append(self._group.create_task(self._guard(replica, liveness)))
        replica.probers = tuple(probers)

    async def _probe(self, replica: _Replica, health: probing.Health) -> None:
        probe = replica.record.spec.probe
        upstream = Upstream(Address.parse(probe.address)) if probe.kind == "http" else None
        try:
            await asyncio.sleep(max(0.0, replica.record.started + probe.initial_delay - time.time()))
            while replica.state.running:
                health = await self._question(replica, health, upstream)
                self._believe(replica, health)
                if probe.kind == "none":
                    return
                await asyncio.sleep(probing.pause(health, probe.kind))
        finally:
            if upstream is not None:
                upstream.close()

    async def _question(
        self, replica: _Replica, health: probing.Health, upstream: Upstream | None = None
    ) -> probing.Health:
        """Ask once whether it is ready. Without an `upstream` a connection is made for this question alone."""
        probe = replica.record.spec.probe
        return probing.judge(health, await self._ask(replica, probe, upstream), probe.failures)

    async def _guard(self, replica: _Replica, probe: Probe) -> None:
        """Ask again and again whether it is alive, until it runs no more or is stuck."""
        await asyncio.sleep(max(0.0, replica.record.started + probe.initial_delay - time.time()))
        failures = 0
        begun = not probe.once_ready
        while True:
            begun = begun or replica.state.ready
            if begun:
                seen = await self._ask(replica, probe)
                failures = 0 if seen.answer is probing.Answer.READY else failures + 1
                if failures >= probe.failures:
                    replica.state = dataclasses.replace(replica.state, stuck=seen.reason)
                    self._changed(replica.state.spec.key)
                    return
            await asyncio.sleep(probe.period)

    async def _ask(self, replica: _Replica, probe: Probe, upstream: Upstream | None = None) -> probing.Observation:
        own = Upstream(Address.parse(probe.address)) if upstream is None and probe.kind == "http" else None
        try:
            return await probing.ask(probe, upstream or own, self._environment(replica.record))
        finally:
            if own is not None:
                own.close()

    def _believe(self, replica: _Replica, health: probing.Health) -> None:
        state = replica.state
        if not state.running or (state.ready, state.reason) == (health.ready, health.reason):
            return
        since = (state.ready_since or time.time()) if health.ready else None
        replica.state = dataclasses.replace(state, ready=health.ready, ready_since=since, reason=health.reason)
        if health.ready and state.spec.seed is not None:
            self.pool.want(state.spec.seed)
        self._changed(state.spec.key)

    async def _rotate(self) -> None:
        """Keep the output of living replicas within its limit."""
        while True:
            await asyncio.sleep(ROTATION_PERIOD)
            for key in list(self._replicas):
                logs = self._records.logs(key)
                if oversized(logs, self._log_bytes):
                    try:
                        await asyncio.to_thread(rotate, logs)
                    except OSError as error:
                        log.error("an output could not be rotated", extra={"replica": key, "error": str(error)})
