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
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from colonnade.errors import Error
from colonnade.net import HttpServer, Limits
from colonnade.server.arguments import Arguments
from colonnade.server.metrics import ReplicaMetrics
from colonnade.server.repository import Loader, Repository
from colonnade.server.routes import Router

if TYPE_CHECKING:
    from colonnade.server.grpc_service import GrpcServer

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


async def run(arguments: Arguments, loader: Loader) -> Outcome:
    """Serves until a signal, or until the model turns out not to load."""
    metrics = ReplicaMetrics()
    repository = Repository(arguments.policy, metrics.observer)
    router = Router(repository, metrics, arguments.max_body)
    http = HttpServer(router, limits=Limits(body_bytes=arguments.max_body))
    stopping = _stop_on_signal()
    if arguments.ignored:
        logger.info("has no effect here: %s", ", ".join(arguments.ignored))
    repository.add(arguments.model_name, loader)
    try:
        grpc = await _listen(http, repository, metrics, arguments)
    except OSError as error:
        logger.error("cannot listen: %s", error)
        return Outcome(EXIT_ADDRESS, clean=True)
    started = time.monotonic()
    load = asyncio.ensure_future(repository.load(arguments.model_name))
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
            seconds = round(time.monotonic() - started, 3)
            logger.info("ready", extra={"model": arguments.model_name, "seconds": seconds})
        await stop
    return Outcome(code, await _drain(repository, http, grpc, arguments.grace))


async def _listen(
    http: HttpServer, repository: Repository, metrics: ReplicaMetrics, arguments: Arguments
) -> GrpcServer | None:
    if arguments.socket is not None:
        await http.listen_unix(arguments.socket)
        at = {"http": f"unix:{arguments.socket}"}
    else:
        port = await http.listen_tcp(arguments.host, arguments.http_port or 0)
        at = {"http": _authority(arguments.host, port)}
    grpc = None
    address = _grpc_address(arguments)
    if address is not None:
        from colonnade.server.grpc_service import GrpcServer  # its libraries cost a start without gRPC some 100 ms

        grpc = await GrpcServer.open(address, repository, metrics, arguments.max_message)
        at["grpc"] = _authority(arguments.host, grpc.port) if grpc.port else address
    logger.info("listening", extra={"model": arguments.model_name, **at})
    return grpc


def _grpc_address(arguments: Arguments) -> str | None:
    if arguments.grpc_socket is not None:
        return f"unix:{arguments.grpc_socket}"
    return None if arguments.grpc_port is None else _authority(arguments.host, arguments.grpc_port)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


async def _drain(repository: Repository, http: HttpServer, grpc: GrpcServer | None, grace: float) -> bool:
    """Ends all, and returns whether the model's code has ended too."""
    deadline = asyncio.get_running_loop().time() + grace
    repository.drain()
    await asyncio.gather(http.drain(grace), *([] if grpc is None else [grpc.drain(grace)]))
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
    _write_whole(arguments.termination_file, msgspec.json.encode(termination))


def _where(cause: BaseException) -> str:
    """An error of the user's code with the line that raised it. It is for who runs the replica, not for clients."""
    frames = traceback.extract_tb(cause.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(cause).__name__}: {cause}{place}"


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that no reader sees half of it."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        logger.error("cannot write the termination file: %s", error)
