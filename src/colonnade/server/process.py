"""A replica's life: sockets open, model loading, ready, draining, gone.

The sockets open before the model loads, so that whoever watches can tell "loading" from "dead" and read the metrics.
SIGTERM makes the replica unready at once and ends it when its last request has its answer. A second signal ends it at
once. The death of its parent does not: replicas outlive the control plane that started them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from colonnade.errors import Error
from colonnade.net import HttpServer, Limits, mux
from colonnade.net.address import authority, bound_socket
from colonnade.net.later import HTTP2_PREFACE, LaterHttp2
from colonnade.net.server import Dialect
from colonnade.observe import memory
from colonnade.runtimes import golden
from colonnade.security import files
from colonnade.server.arguments import Arguments
from colonnade.server.compiling import Compiling
from colonnade.server.metrics import ReplicaMetrics
from colonnade.server.repository import Loader, Repository
from colonnade.server.routes import Router

if TYPE_CHECKING:
    from colonnade.server.modelfolder import ModelFolder

logger = logging.getLogger(__name__)

EXIT_ADDRESS = 1  # a socket cannot be opened
EXIT_LOAD_FAILED = 3
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Outcome(NamedTuple):
    """How a replica ended: its exit code, and whether no code of the model runs any more."""

    code: int
    clean: bool


class Termination(msgspec.Struct):
    """Why a replica ended by itself; what `--termination-file` gets, in the form of KServe's `lastFailureInfo`."""

    reason: str
    message: str
    location: str
    exit_code: int = msgspec.field(name="exitCode")


async def run(arguments: Arguments, loader: Loader | ModelFolder, compiling: Compiling | None = None) -> Outcome:
    """Serves until a signal, or until the model turns out not to load.

    `compiling` makes compiled forms of what the loader loads, which are loaded in its place.
    """
    metrics = ReplicaMetrics()
    repository = Repository(arguments.policy, metrics.observer)
    router = Router(repository, metrics, arguments.max_body, arguments.max_message, compiling)
    dialects: list[tuple[bytes, Dialect]] = [(HTTP2_PREFACE, LaterHttp2())]
    if arguments.socket is not None:
        dialects.append((mux.PREFACE, mux.MuxConnection))
    http = HttpServer(router, limits=Limits(body_bytes=arguments.max_body), ssl=arguments.tls, dialects=dialects)
    stopping = _stop_on_signal()
    if arguments.ignored:
        logger.info("has no effect here: %s", ", ".join(arguments.ignored))
    if callable(loader):
        repository.add(arguments.model_name, loader, golden.beside(arguments.model_dir))
    else:
        repository.offers = loader.offered
    try:
        await _listen(http, arguments)
    except OSError as error:
        logger.error("cannot listen: %s", error)
        return Outcome(EXIT_ADDRESS, clean=True)
    started = time.monotonic()
    loading = repository.load(arguments.model_name) if callable(loader) else loader.load_all(repository)
    load = asyncio.ensure_future(loading)
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({load, stop}, return_when=asyncio.FIRST_COMPLETED)
    code = 0
    failure = load.exception() if load.done() else None
    if failure is not None:
        code = EXIT_LOAD_FAILED
        _report(arguments, failure.__cause__ or failure)
        stop.cancel()
    else:
        if load.done():
            await _listen_directly(http, arguments)
            seconds = round(time.monotonic() - started, 3)
            memory.settle(seconds)
            logger.info("ready", extra={"model": arguments.model_name, "seconds": seconds})
        beside = []
        if compiling is not None:
            beside.append(asyncio.ensure_future(compiling.convert(partial(repository.load, arguments.model_name))))
        await stop
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    return Outcome(code, await _drain(repository, http, arguments.grace))


async def _listen(http: HttpServer, arguments: Arguments) -> None:
    """Opens the sockets. Each takes all protocols; what gRPC has of its own is for clients that look for it there."""
    at: dict[str, str] = {}
    for protocol, path, port in (
        ("http", arguments.socket, arguments.http_port),
        ("grpc", arguments.grpc_socket, arguments.grpc_port),
    ):
        if path is not None:
            await http.listen_unix(path)
            at[protocol] = f"unix:{path}"
        elif port is not None:
            at[protocol] = authority(arguments.host, await http.listen_tcp(arguments.host, port))
    logger.info("listening", extra={"model": arguments.model_name, **at})


async def _listen_directly(http: HttpServer, arguments: Arguments) -> None:
    """Opens the service's own port, now that there is a model. Without it the gateway still reaches this replica."""
    if arguments.direct_port is None:
        return
    try:
        await http.listen_socket(bound_socket(arguments.host, arguments.direct_port, shared=True))
    except OSError as error:
        logger.error("cannot listen on the service's own port %d: %s", arguments.direct_port, error)


def _stop_on_signal() -> asyncio.Event:
    """An event that the first signal sets; the second ends the process."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        logger.info("stopping", extra={"signal": number.name})
        stopping.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    return stopping


async def _drain(repository: Repository, http: HttpServer, grace: float) -> bool:
    """Ends all, and returns whether the model's code has ended too."""
    deadline = asyncio.get_running_loop().time() + grace
    repository.drain()
    await http.drain(grace)
    try:
        async with asyncio.timeout_at(deadline):
            await repository.close()
    except TimeoutError:
        logger.warning("the model's code still runs after the grace period", extra={"seconds": grace})
        return False
    return True


def _report(arguments: Arguments, cause: BaseException) -> None:
    """Says why the model did not load: to the log, and to the file that the starter reads."""
    message = cause.message if isinstance(cause, Error) else _where(cause)
    logger.error("the model cannot be loaded: %s", message, extra={"model": arguments.model_name})
    if arguments.termination_file is None:
        return
    location = os.environ.get("POD_NAME") or arguments.model_name
    termination = Termination("ModelLoadFailed", message, location, EXIT_LOAD_FAILED)
    try:
        files.write(arguments.termination_file, msgspec.json.encode(termination), durable=False)
    except OSError as error:
        logger.error("cannot write the termination file: %s", error)


def _where(cause: BaseException) -> str:
    """An error of the user's code with the line that raised it. It is for who runs the replica, not for clients."""
    from colonnade.server.isolated import ProcessFailure

    if isinstance(cause, ProcessFailure):
        return str(cause)
    frames = traceback.extract_tb(cause.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(cause).__name__}: {cause}{place}"
