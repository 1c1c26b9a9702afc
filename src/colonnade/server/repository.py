"""The models of one replica by name: loaded, unloaded and exchanged while requests run.

A model loads on a lane of its own, beside the one that serves. Only when it is complete does it take the place of the
old one, in one assignment; the old one ends what it has begun and is unloaded then. So a reload that fails costs
nothing, and a request never sees half a model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from colonnade.errors import ModelNotFound, ModelNotReady, NotFound, Unavailable
from colonnade.model.contract import Model
from colonnade.net.background import Background
from colonnade.observe import memory
from colonnade.runtimes.golden import read
from colonnade.server.execution import Execution, Policy
from colonnade.server.golden import check
from colonnade.server.hooks import Observe
from colonnade.server.lane import Lane
from colonnade.server.response_cache import CachedStart, ResponseCache
from colonnade.server.warmup import BUDGET
from colonnade.wire import failures

Loader = Callable[[], Model]  # blocking; returns a model that is ready to predict

FIRST_VERSION = "1"

_log = logging.getLogger(__name__)


class Offered(NamedTuple):
    """A model that can be hosted though it is not yet.

    Attributes:
        loader: makes a loaded model.
        golden: see `Hosted`.
        stamp: what it is loaded from: while that is the same, it is not loaded again.
    """

    loader: Loader
    golden: Path | None
    stamp: object


class State(StrEnum):
    """State of a model, in the words of Triton's model repository extension."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(eq=False)
class Hosted:
    """One name under which a model is or can be served.

    Attributes:
        name: the name that requests use.
        loader: makes a loaded model.
        golden: the file of requests that the model must answer as it says, before it is ready; it need not exist.
        state: what is going on.
        reason: why it is not ready, in words fit for a client.
        execution: the loaded model with what runs it; None while there is none.
        cache: answers that are kept, if any are.
        wanted, stamp: of what the next load, and the one that serves, is made of; see `Offered`.
    """

    name: str
    loader: Loader
    golden: Path | None = None
    state: State = State.UNAVAILABLE
    reason: str = "not loaded"
    execution: Execution | None = None
    cache: ResponseCache | None = None
    wanted: object = None
    stamp: object = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ready(self) -> bool:
        """Whether the model answers now."""
        return self.execution is not None

    @property
    def version(self) -> str:
        """The version that answers, or would."""
        return FIRST_VERSION if self.execution is None else self.execution.version

    def serving(self, version: str | None = None) -> Execution:
        """What runs the model, if it has the version that was asked for.

        Raises:
            ModelNotReady: it is not loaded.
            NotFound: another version is loaded; the message names it.
        """
        execution = self.execution
        if execution is None:
            raise ModelNotReady(self.name)
        if version and version != execution.version:
            message = f"Model {self.name} has no version {version}; the version that is loaded is {self.version}."
            raise NotFound(message)
        return execution


class Repository:
    """The hosted models of one process. All methods belong to the event loop's thread.

    Attributes:
        hosted: models by name.
        draining: the process is ending; nothing is ready any more.
        on_change: called after a model's readiness or the server's has changed.
        offers: finds models that are not hosted yet, or raises ModelNotFound; None where the hosted ones are all. With
            it a model that fails makes nothing but itself unready, and one that is unloaded is hosted no more.
    """

    def __init__(self, policy: Policy, observers: Callable[[str, str], Observe]) -> None:
        """`policy`: how each model runs; `observers` gives, for a model and a hook, what takes the seconds of each call
        (for `batch`, the rows)."""
        self.hosted: dict[str, Hosted] = {}
        self.draining = False
        self.on_change: list[Callable[[], None]] = []
        self.offers: Callable[[str], Offered] | None = None
        self._settled = False
        self._policy = policy
        self._observers = observers
        self._changes = Background()

    @property
    def ready(self) -> bool:
        """Whether every model answers and the process is not ending; with `offers`, whether it has begun to serve."""
        if self.offers is not None:
            return self._settled and not self.draining
        return not self.draining and bool(self.hosted) and all(hosted.ready for hosted in self.hosted.values())

    def add(self, name: str, loader: Loader, golden_file: Path | None = None) -> Hosted:
        """Hosts a name; the model is not loaded yet. `golden_file`: see `runtimes.golden`."""
        hosted = self.hosted[name] = Hosted(name, loader, golden_file)
        if self._policy.response_cache:
            hosted.cache = ResponseCache(self._policy.response_cache, self._policy.response_cache_ttl)
        self._changed()
        return hosted

    def get(self, name: str) -> Hosted:
        """The hosted model of that name.

        Raises:
            ModelNotFound: there is none.
        """
        hosted = self.hosted.get(name)
        if hosted is None:
            raise ModelNotFound(name)
        return hosted

    async def load(self, name: str) -> None:
        """Loads a model, or exchanges it for a newly loaded one; the old one serves meanwhile. A caller that is
        cancelled does not break the load off. What is offered is not loaded again while its stamp is the same.

        Raises:
            ModelNotFound: no such name is hosted or offered.
            Unavailable: the loader failed; the message says why in words fit for a client, `__cause__` is the error.
        """
        hosted = self.get(name) if self.offers is None else self._take(name, self.offers(name))
        await asyncio.shield(self._own(self._load(hosted)))

    async def unload(self, name: str) -> None:
        """Takes a model out of service and frees it once its requests have ended. The name stays hosted, unless the
        models are those of `offers`.

        Raises:
            ModelNotFound: no such name is hosted.
        """
        await asyncio.shield(self._own(self._unload(self.get(name))))

    def settle(self) -> None:
        """What was offered at the start is loaded, as far as it can be."""
        self._settled = True
        self._changed()

    def drain(self) -> None:
        """Nothing is ready from now on; what runs goes on."""
        self.draining = True
        self._changed()

    async def close(self) -> None:
        """Unloads every model after its last request."""
        await asyncio.gather(*self._changes, *map(self.unload, self.hosted), return_exceptions=True)

    def _take(self, name: str, offered: Offered) -> Hosted:
        """Host what is offered under a name, or offer it to the one that is hosted."""
        hosted = self.hosted.get(name) or self.add(name, offered.loader, offered.golden)
        hosted.loader, hosted.golden, hosted.wanted = offered
        return hosted

    async def _load(self, hosted: Hosted) -> None:
        async with hosted.changing:
            before = hosted.execution
            loader, golden_file, stamp = hosted.loader, hosted.golden, hosted.wanted
            if before is not None and stamp is not None and stamp == hosted.stamp:
                return
            self.hosted.setdefault(hosted.name, hosted)  # it was unloaded while this load waited
            self._enter(hosted, State.LOADING, "loading", before)
            lanes = [Lane(hosted.name, self._policy.admission()) for _ in range(self._policy.instances)]
            copies: list[tuple[Model, Lane]] = []
            try:
                for lane in lanes:
                    copies.append((await lane.run(loader, limited=False), lane))
                execution = Execution(copies, self._policy, partial(self._observers, hosted.name))
                await execution.warm_up(BUDGET)
                if golden_file is not None:
                    await check(read(golden_file), execution, hosted.name)
            except Exception as error:
                await _discard(copies)
                for lane in lanes:
                    lane.close()
                cause = failures.opaque(error).message
                self._enter(hosted, State.UNAVAILABLE if before is None else State.READY, cause, before)
                raise Unavailable(f"Model with name {hosted.name} is not ready. {cause}") from error
            if hosted.cache is not None:
                hosted.cache.clear()
                if not execution.takes_headers:
                    execution.cached = CachedStart(hosted.cache, execution.start)
            hosted.stamp = stamp
            self._enter(hosted, State.READY, "", execution)
            if before is not None:
                self._own(_freed(before))

    async def _unload(self, hosted: Hosted) -> None:
        async with hosted.changing:
            before = hosted.execution
            if before is not None:
                self._enter(hosted, State.UNLOADING, "unloading", None)
                try:
                    await before.retire()
                finally:
                    self._enter(hosted, State.UNAVAILABLE, "unloaded", None)
            if self.offers is not None and self.hosted.pop(hosted.name, None) is not None:
                self._changed()

    def _own(self, change: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._changes.start(change)

    def _enter(self, hosted: Hosted, state: State, reason: str, execution: Execution | None) -> None:
        hosted.state = state
        hosted.reason = reason
        hosted.execution = execution
        self._changed()

    def _changed(self) -> None:
        for callback in self.on_change:
            callback()


async def _discard(copies: Sequence[tuple[Model, Lane]]) -> None:
    """Unloads the instances of a model of which not all could be loaded."""
    for model, lane in copies:
        try:
            freed = await lane.run(model.unload, limited=False)
            if isinstance(freed, Coroutine):
                await freed
        except Exception:  # user code may raise anything; why the model did not load is what counts
            _log.exception("an instance of the model could not be unloaded", extra={"model": model.name})


async def _freed(before: Execution) -> None:
    """Ends what was replaced, and lets the collector see that it is gone."""
    await before.retire()
    memory.sweep()
