"""When the model of a replica is served by a compiled form: found on disk at load, or made beside the serving process.

By default nobody waits for a conversion: the original serves at once, a child process converts and checks it, and the
model is loaded again, from what the child has left on disk, while the original goes on. The next start finds it there
and needs no framework. The decisions about a graph are in `runtimes.compile`; here is only who waits for what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from colonnade.errors import Error, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import catalogue
from colonnade.runtimes.base import LoadOptions, model_file, threads
from colonnade.runtimes.compile import packages
from colonnade.runtimes.compile.report import Report
from colonnade.security import files
from colonnade.wire import failures

if TYPE_CHECKING:
    from colonnade.runtimes.compile.job import Job
    from colonnade.runtimes.compile.store import Compiled

_log = logging.getLogger(__name__)


class Mode(StrEnum):
    """Whether models are compiled."""

    AUTO = "auto"  # where the converter is installed and the result agrees
    OFF = "off"
    REQUIRE = "require"  # a model that is not compiled does not load


class State(StrEnum):
    """What serves now."""

    ORIGINAL = "original"
    CONVERTING = "converting"  # the original serves
    COMPILED = "compiled"


def own_folder(env: Mapping[str, str]) -> Path:
    """Where conversions are kept by a replica that nobody tells."""
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "colonnade" / "compiled"


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `GET /v2/models/{name}/compile` answers."""

    mode: Mode
    state: State
    summary: str
    report: Report | None = None


class Compiling:
    """The compiled form of one replica's model.

    Attributes:
        status: what serves, and why.
    """

    def __init__(self, mode: Mode, folder: Path, report_file: Path | None, loop: asyncio.AbstractEventLoop) -> None:
        """`folder` keeps conversions; `report_file` gets the status, for who started this process; `loop` converts."""
        self._mode = mode
        self._folder = folder
        self._report_file = report_file
        self._wanted: asyncio.Queue[Job] = asyncio.Queue()
        self._waiting: set[str] = set()  # keys of jobs that are not done
        self._loop = loop
        self.status = Status(mode, State.ORIGINAL, "not compiled: nothing is loaded")

    def load(self, runtime: str, name: str, path: Path, options: LoadOptions) -> Model:
        """The model, compiled if it is on disk or if that is required; on the model's thread, it may block.

        Raises:
            LoadFailed: the original cannot be loaded, or not compiled though that is required.
        """

        def original() -> Model:
            return catalogue.runtime(runtime).load(name, path, options)

        if self._mode is Mode.OFF:
            return self._settle(original(), "not compiled: --compile is off")
        if runtime not in packages.RUNTIMES:
            return self._stay(original, f"models of {runtime} are not converted")
        versions = packages.versions(runtime)
        if versions is None:
            return self._stay(original, "the converter is not installed; pip install colonnade[compile]")
        from colonnade.server import converting

        try:
            file = model_file(path, catalogue.runtime(runtime).suffixes)
            work = converting.planned(runtime, file, options, versions, self._folder)
            found = converting.found(work)
            if found is None and self._mode is Mode.REQUIRE:
                found = converting.at_once(work, options)
        except Error as error:
            return self._stay(original, error.message)
        if found is None:
            model = self._settle(original(), "the original serves until its conversion is checked", State.CONVERTING)
            if work.key not in self._waiting:  # a model may be loaded several times, on threads of their own
                self._waiting.add(work.key)
                self._loop.call_soon_threadsafe(self._wanted.put_nowait, work)
            return model
        return self._from_disk(found, name, original, options)

    async def convert(self, again: Callable[[], Awaitable[None]]) -> None:
        """Converts what was loaded and is not on disk, one after the other, until cancelled. Whatever fails on the way,
        the status says so, and the next one has its turn.

        Args:
            again: loads the model again, which finds the compiled form then.
        """
        while True:
            work = await self._wanted.get()
            from colonnade.server import converting

            try:
                found = await converting.beside(work)
            except Exception as error:
                self._note(Status(self._mode, State.ORIGINAL, f"not compiled: {_cause(error)}"))
                continue
            finally:
                self._waiting.discard(work.key)
            report = found.report
            if not report.compiled:
                self._note(Status(self._mode, State.ORIGINAL, report.summary, report))
                continue
            try:
                await again()
            except Exception as error:
                why = f"not compiled: the model cannot be loaded again with its graph: {_cause(error)}"
                self._note(Status(self._mode, State.ORIGINAL, why, report))

    def _from_disk(self, found: Compiled, name: str, original: Callable[[], Model], options: LoadOptions) -> Model:
        report = found.report
        if not report.compiled:
            return self._stay(original, report.reason, report)
        from colonnade.runtimes.compile.compiled import CompiledModel

        try:
            model = CompiledModel(name, report, found.graphs, original, threads(options.env))
        except Exception as error:  # onnxruntime has one class for each status and no common base
            return self._stay(original, f"its graph cannot be loaded: {error}", report)
        self._note(Status(self._mode, State.COMPILED, report.summary, report))
        return model

    def _stay(self, original: Callable[[], Model], reason: str, report: Report | None = None) -> Model:
        """The original, unless that is refused."""
        if self._mode is Mode.REQUIRE:
            raise LoadFailed(f"the model is not compiled: {reason}; serve it with --compile auto, or off")
        return self._settle(original(), f"not compiled: {reason}", report=report)

    def _settle(self, model: Model, summary: str, state: State = State.ORIGINAL, report: Report | None = None) -> Model:
        self._note(Status(self._mode, state, summary, report))
        return model

    def _note(self, status: Status) -> None:
        self.status = status
        _log.info("compile", extra={"state": status.state, "summary": status.summary})
        if self._report_file is not None:
            try:
                files.write(self._report_file, msgspec.json.encode(status), durable=False)
            except OSError as error:
                _log.error("cannot write the report of the conversion: %s", error)


def _cause(error: Exception) -> str:
    """An error in words for the status; one that nobody foresaw is in the log with an id."""
    return failures.opaque(error).message
