"""`colonnade up`: the platform in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from colonnade import defaults
from colonnade.cli.exits import CommandFailed
from colonnade.cli.manifests import read_manifests, served_kind
from colonnade.cli.quantities import QuantityType
from colonnade.cli.state import Target, pass_target
from colonnade.control.layout import Endpoints
from colonnade.control.machine.budget import Offer
from colonnade.control.plane import run
from colonnade.control.replicas.pooling import AUTO, Pooling, pooling
from colonnade.control.settings import Settings
from colonnade.errors import Error
from colonnade.observe import logs
from colonnade.storage.mirror import Mirror, mirror_of
from colonnade.storage.volumes import named_volumes

port = click.IntRange(0, 65535)
_MOST_OVERCOMMIT = 1000.0


@click.command("up", short_help="run the platform in the foreground")
@click.option(
    "--host",
    default=defaults.HOST,
    show_default=True,
    help="Address to listen on. Beyond loopback, requests need the token.",
)
@click.option(
    "--http-port", type=port, default=defaults.HTTP_PORT, show_default=True, help="V1, V2; 0 picks a free one."
)
@click.option("--grpc-port", type=port, default=defaults.GRPC_PORT, show_default=True, help="gRPC; 0 picks a free one.")
@click.option(
    "--api-port",
    type=port,
    default=defaults.API_PORT,
    show_default=True,
    help="Kubernetes-shaped API; 0 picks a free one.",
)
@click.option(
    "--gateway-workers",
    type=click.IntRange(1, defaults.MAX_GATEWAY_WORKERS),
    default=1,
    show_default=True,
    help="Processes of the gateway, on the same ports; one takes what one core can.",
)
@click.option(
    "--max-message",
    type=click.IntRange(min=1),
    default=defaults.MAX_GRPC_MESSAGE_BYTES,
    show_default=True,
    help="Bytes of one gRPC message that the gateway takes; replicas have a limit of their own, --max-message in args.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    help="Certificate chain in PEM: HTTP and gRPC take TLS alone. Read at start.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key of --tls-cert, in PEM, not encrypted.")
@click.option(
    "--cache-size",
    type=QuantityType(),
    default=defaults.CACHE_BYTES,
    show_default="50Gi",
    help="Room for fetched models, such as 50Gi; models that no replica uses leave it, the least recently used first.",
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="PREFIX=DIR",
    help="Take models whose storageUri starts with PREFIX from DIR, without a network; may be repeated.",
)
@click.option(
    "--pvc",
    "claims",
    multiple=True,
    metavar="[NAMESPACE/]NAME=DIR",
    help="A folder for pvc://NAME; others are folders volumes/NAMESPACE/NAME of the state folder.",
)
@click.option(
    "--trust",
    "trusted",
    metavar="PREFIX",
    multiple=True,
    help="Models under this URI or path may run code, as if each service had consented.",
)
@click.option(
    "--pool",
    metavar="auto|off|RUNTIMES",
    default=AUTO,
    show_default=True,
    help="Keep processes with the imports of runtimes, which fork replicas: for services that scale to zero (auto), "
    "for none, or for all replicas of some runtimes, such as sklearn,onnx.",
)
@click.option(
    "--cpu",
    type=QuantityType(1000),
    help="Cores that replicas may claim, such as 4 or 3500m; the default is what the machine has.",
)
@click.option("--memory", type=QuantityType(), help="Memory that replicas may claim, such as 16Gi; likewise.")
@click.option("--gpus", type=click.IntRange(min=0), help="GPUs that replicas may claim; likewise, by nvidia-smi.")
@click.option(
    "--overcommit",
    "overcommits",
    multiple=True,
    metavar="cpu|memory=FACTOR",
    help=f"How many times it all may be claimed; cpu={defaults.OVERCOMMIT_CPU:g} and "
    f"memory={defaults.OVERCOMMIT_MEMORY:g} by default. One replica never gets more than there is.",
)
@click.option(
    "--parked-memory",
    type=QuantityType(),
    show_default="a quarter of the memory",
    help="Models of services that scaled to zero that are kept in the page cache, such as 2Gi; 0 for none.",
)
@click.option("--domain", default=defaults.DOMAIN, show_default=True, help="Last part of the services' host names.")
@click.option("--require-token", is_flag=True, help="Requests need the token on loopback, too.")
@click.option("-f", "--filename", "sources", multiple=True, help="Apply these manifests at start: file, folder or -.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=defaults.GRACE_PERIOD,
    show_default=True,
    help="Seconds that requests in flight get when it stops.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@pass_target
def command(
    target: Target,
    host: str,
    http_port: int,
    grpc_port: int,
    api_port: int,
    gateway_workers: int,
    max_message: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    cache_size: int,
    mirrors: tuple[str, ...],
    trusted: tuple[str, ...],
    claims: tuple[str, ...],
    cpu: int | None,
    memory: int | None,
    gpus: int | None,
    overcommits: tuple[str, ...],
    pool: str,
    parked_memory: int | None,
    domain: str,
    require_token: bool,
    sources: tuple[str, ...],
    grace: float,
    log_level: str,
) -> None:
    """Run the platform in the foreground: control plane, gateway and replicas.

    Prints one line when it is ready. SIGTERM or Ctrl-C stops it without losing a request in flight.
    """
    documents = read_manifests(sources) if sources else []
    for document in documents:
        served_kind(document)
    settings = Settings(
        state_dir=target.state_dir,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        api_port=api_port,
        domain=domain,
        manifests=tuple(document.object for document in documents),
        grace=grace,
        require_token=require_token,
        gateway_workers=gateway_workers,
        max_message=max_message,
        tls_cert=tls_cert,
        tls_key=tls_key,
        cache_bytes=cache_size,
        mirror=_mirror(mirrors),
        trusted=trusted,
        volumes=_volumes(claims),
        offer=Offer(cpu, memory, gpus, _factors(overcommits)),
        pooling=_pooling(pool),
        parked_bytes=parked_memory,
    )
    start(settings, log_level, _say_ready)


def _factors(words: tuple[str, ...]) -> dict[str, float]:
    """`cpu=4` as what it stands for."""
    factors = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            factor = float(text)
        except ValueError:
            factor = 0.0
        if name not in ("cpu", "memory") or not 1.0 <= factor <= _MOST_OVERCOMMIT:
            wanted = f"write cpu=FACTOR or memory=FACTOR, with a number from 1 to {_MOST_OVERCOMMIT:g}"
            raise click.UsageError(f"--overcommit {word!r} cannot be read; {wanted}.")
        factors[name] = factor
    return factors


def _volumes(words: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    try:
        return named_volumes(words)
    except Error as error:
        raise CommandFailed(error.message) from None


def _pooling(text: str) -> Pooling:
    try:
        return pooling(text)
    except Error as error:
        raise CommandFailed(error.message) from None


def _mirror(words: tuple[str, ...]) -> Mirror:
    try:
        return mirror_of(words)
    except Error as error:
        raise CommandFailed(error.message) from None


def start(settings: Settings, log_level: str, ready: Callable[[Endpoints], None]) -> None:
    """Runs the platform until it is told to stop.

    Raises:
        CommandFailed: it could not start: another holds the state folder, a port is taken, or a manifest or a
            certificate is refused.
    """
    import uvloop

    logs.configure(sys.stderr, log_level)

    try:
        uvloop.run(run(settings, ready=ready))
    except Error as error:
        raise CommandFailed(error.message) from None


def _say_ready(endpoints: Endpoints) -> None:
    click.echo(f"ready: http {endpoints.http}, grpc {endpoints.grpc}, api {endpoints.api}")
    sys.stdout.flush()
