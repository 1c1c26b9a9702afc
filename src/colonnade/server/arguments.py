"""What a replica is told on its command line.

The spellings of KServe's servers (`--model_name`, `--http_port`, `--model_dir`) mean the same as ours, so that the
arguments of a ServingRuntime manifest start this server unchanged. Source of the names and defaults: reference
section 3.2, "ModelServer flags".
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from colonnade import defaults
from colonnade.runtimes import catalogue

RUNTIMES = ("auto", *catalogue.RUNTIMES)
MODEL_DIR = "/mnt/models"  # where KServe's storage initializer puts the artefact
MODEL_NAME = "model"


@dataclass(frozen=True)
class Arguments:
    """The settings of one replica.

    Attributes:
        model_name: the name that requests use.
        model_dir: file or folder of the artefact.
        runtime: the adapter that loads it; `auto` detects it by suffix.
        host: address of the TCP ports.
        http_port: TCP port of HTTP, 0 for a free one, None if `socket` is given.
        socket: Unix socket path of HTTP, or None.
        grpc_port: TCP port of gRPC, 0 for a free one, None for no TCP port.
        grpc_socket: Unix socket path of gRPC, or None.
        threads: threads that one prediction may use; None for `OMP_NUM_THREADS`, else 1.
        trust_code: consent to load artefacts that execute code.
        max_body: largest HTTP request body in bytes, before and after inflation.
        max_message: largest gRPC message in bytes, both ways.
        max_queue: requests that wait for one model's worker thread before 429.
        grace: seconds that requests in flight get after SIGTERM.
        termination_file: where the cause of a failed load is written, or None.
    """

    model_name: str = MODEL_NAME
    model_dir: Path = Path(MODEL_DIR)
    runtime: str = "auto"
    host: str = defaults.HOST
    http_port: int | None = None
    socket: str | None = None
    grpc_port: int | None = None
    grpc_socket: str | None = None
    threads: int | None = None
    trust_code: bool = False
    max_body: int = defaults.MAX_BODY_BYTES
    max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES
    max_queue: int = defaults.MAX_QUEUE
    grace: float = defaults.GRACE_PERIOD
    termination_file: Path | None = None


def parse(argv: Sequence[str], env: Mapping[str, str] = os.environ, *, script: Path | None = None) -> Arguments:
    """Arguments from a command line; exits with status 2 and a message on one that is wrong.

    Args:
        argv: the words after the program's name.
        env: `PORT` is the HTTP port if no flag gives one, as containers under KServe and Knative expect.
        script: the user's script if it calls `serve`: its folder is the default model folder, and words that are not
            ours are left to the script.
    """
    parser = _parser(script)
    words = [_hyphens(word) for word in argv]
    given = parser.parse_known_args(words)[0] if script is not None else parser.parse_args(words)
    http_port: int | None = given.http_port
    if http_port is None and given.socket is None:
        http_port = _port(env["PORT"], parser) if env.get("PORT") else defaults.HTTP_PORT
    grpc_port: int | None = given.grpc_port
    if given.enable_grpc and grpc_port is None and given.grpc_socket is None:
        grpc_port = defaults.GRPC_PORT
    if given.enable_grpc is False:
        grpc_port = given.grpc_socket = None
    return Arguments(
        model_name=given.model_name,
        model_dir=given.model_dir,
        runtime=given.runtime,
        host=given.host,
        http_port=http_port,
        socket=given.socket,
        grpc_port=grpc_port,
        grpc_socket=given.grpc_socket,
        threads=given.nthread,
        trust_code=given.trust_code,
        max_body=given.max_body,
        max_message=given.max_message,
        max_queue=given.max_queue,
        grace=given.grace,
        termination_file=given.termination_file,
    )


def _parser(script: Path | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=script.name if script is not None else "python -m colonnade.server",
        description="Serves one model over V1, V2 and gRPC. KServe's spellings (--model_name) are accepted.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    folder = Path(MODEL_DIR) if script is None else script.parent
    add("--model-name", default=MODEL_NAME, help="the name that requests use (default: %(default)s)")
    add("--model-dir", type=Path, default=folder, help="file or folder of the artefact (default: %(default)s)")
    add("--runtime", choices=RUNTIMES, default="auto", help="adapter that loads the artefact (default: by suffix)")
    add("--host", default=defaults.HOST, help="address of the TCP ports (default: %(default)s)")
    http = parser.add_mutually_exclusive_group()
    http.add_argument("--http-port", type=int, help="TCP port of HTTP, 0 for a free one (default: $PORT or 8080)")
    http.add_argument("--socket", help="Unix socket of HTTP instead of a TCP port")
    grpc = parser.add_mutually_exclusive_group()
    grpc.add_argument("--grpc-port", type=int, help="TCP port of gRPC, 0 for a free one (default: no gRPC)")
    grpc.add_argument("--grpc-socket", help="Unix socket of gRPC instead of a TCP port")
    add("--enable-grpc", type=_boolean, help="true: gRPC on port 8081 if no other address is given; false: none")
    add("--nthread", type=_positive, help="threads that one prediction may use (default: $OMP_NUM_THREADS or 1)")
    add("--trust-code", action="store_true", help="load artefacts that can execute code, such as any pickle")
    add("--max-body", type=_positive, default=defaults.MAX_BODY_BYTES, help="largest HTTP body in bytes")
    message = defaults.MAX_GRPC_MESSAGE_BYTES
    add("--max-message", type=_positive, default=message, help="largest gRPC message in bytes")
    add("--max-queue", type=_positive, default=defaults.MAX_QUEUE, help="requests that wait before 429")
    add("--grace", type=float, default=defaults.GRACE_PERIOD, help="seconds for requests in flight after SIGTERM")
    add("--termination-file", type=Path, help="JSON file that gets the cause of a failed load")
    return parser


def _hyphens(word: str) -> str:
    """A flag with KServe's underscores in our spelling; values keep theirs."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"


def _port(text: str, parser: argparse.ArgumentParser) -> int:
    if not text.isdecimal() or int(text) > 65535:
        parser.error(f"environment variable PORT: {text!r} is not a port number")
    return int(text)
