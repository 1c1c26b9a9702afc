"""What a replica is told on its command line.

The spellings of KServe's servers (`--model_name`, `--http_port`, `--model_dir`) mean the same as ours, so that the
arguments of a ServingRuntime manifest start this server unchanged: `colonnade.flags` says of each flag of KServe's what
it does here. Source of the names and defaults: KServe's `ModelServer`.
"""

from __future__ import annotations

import argparse
import math
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from colonnade import defaults, flags
from colonnade.errors import InvalidInput
from colonnade.net import Address, tls
from colonnade.runtimes import catalogue, explainers
from colonnade.server.compiling import Mode as Compile
from colonnade.server.execution import Mode, Policy
from colonnade.server.predictor_protocol import TIMEOUT, PredictorProtocol

RUNTIMES = ("auto", *catalogue.RUNTIMES)
MODEL_DIR = "/mnt/models"  # where KServe's storage initializer puts the artefact
MODEL_NAME = "model"

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_MOST_BYTES = (1 << 31) - 1  # of a gRPC message; -1 asks for it


@dataclass(frozen=True)
class Arguments:
    """The settings of one replica.

    Attributes:
        model_name: the name that requests use.
        model_dir: file or folder of the artefact.
        runtime: the adapter that loads it; `auto` detects it by suffix.
        multi_model: `model_dir` is a folder of models, which are loaded and unloaded while the replica serves.
        host: address of the TCP ports.
        http_port: TCP port of HTTP, 0 for a free one, None if `socket` is given.
        socket: Unix socket path of HTTP, or None.
        grpc_port: TCP port of gRPC, 0 for a free one, None for no TCP port.
        grpc_socket: Unix socket path of gRPC, or None.
        direct_port: TCP port that the replicas of a service share and accept on once the model is loaded, or None.
        tls: settings for TLS on the TCP ports, or None.
        threads: threads that one prediction may use; None for `OMP_NUM_THREADS`, else 1.
        trust_code: consent to load artefacts that execute code; None if neither given nor refused.
        max_body: largest HTTP request body in bytes, before and after inflation.
        max_message: largest gRPC message in bytes, both ways.
        policy: how the model runs: its queue, its threads, its batches.
        compile: whether the model is served by its compiled form.
        compile_cache: folder that keeps conversions; None for one below the user's own cache.
        compile_report: where what became of the conversion is written, or None.
        grace: seconds that requests in flight get after SIGTERM.
        termination_file: where the cause of a failed load is written, or None.
        ignored: flags that were given and have no effect here.
        settings: flags for the adapter, see `runtimes.base.LoadOptions`.
        predictor: `host:port` of what a transformer or an explainer calls, or None.
        predictor_protocol: the protocol in which it is asked.
        predictor_timeout: seconds that it may take.
        predictor_tls: it speaks TLS.
        explainer: what explains the model's answers in this process, one of `explainers.NAMES`; None for nothing but
            the model's own `explain`.
    """

    model_name: str = MODEL_NAME
    model_dir: Path = Path(MODEL_DIR)
    runtime: str = "auto"
    multi_model: bool = False
    host: str = defaults.HOST
    http_port: int | None = None
    socket: str | None = None
    grpc_port: int | None = None
    grpc_socket: str | None = None
    direct_port: int | None = None
    tls: ssl.SSLContext | None = None
    threads: int | None = None
    trust_code: bool | None = None
    max_body: int = defaults.MAX_BODY_BYTES
    max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES
    policy: Policy = field(default_factory=Policy)
    compile: Compile = Compile.AUTO
    compile_cache: Path | None = None
    compile_report: Path | None = None
    grace: float = defaults.GRACE_PERIOD
    termination_file: Path | None = None
    ignored: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    predictor: Address | None = None
    predictor_protocol: PredictorProtocol = PredictorProtocol.V1
    predictor_timeout: float = TIMEOUT
    predictor_tls: bool = False
    explainer: str | None = None


def parse(argv: Sequence[str], env: Mapping[str, str] = os.environ, *, script: Path | None = None) -> Arguments:
    """Arguments from a command line; exits with status 2 and a message on one that is wrong.

    Args:
        argv: the words after the program's name.
        env: `PORT` is the HTTP port if no flag gives one, as containers under KServe and Knative expect.
        script: the user's script if it calls `serve`: its folder is the default model folder, and words that are not
            ours are left to the script.
    """
    parser = _parser(script)
    words = [flags.canonical(word) for word in argv]
    given = parser.parse_known_args(words)[0] if script is not None else parser.parse_args(words)
    http_port: int | None = given.http_port
    if http_port is None and given.socket is None:
        try:
            http_port = _port(env["PORT"]) if env.get("PORT") else defaults.HTTP_PORT
        except argparse.ArgumentTypeError as error:
            parser.error(f"environment variable PORT: {error}")
    grpc_port: int | None = given.grpc_port
    if given.enable_grpc and grpc_port is None and given.grpc_socket is None:
        grpc_port = defaults.GRPC_PORT
    if given.multi_model and given.execution == Mode.PROCESS:
        parser.error("--multi-model and --execution process: a process serves one model; leave one of them out")
    if given.enable_grpc is False:
        grpc_port = given.grpc_socket = None
    return Arguments(
        model_name=given.model_name,
        model_dir=given.model_dir,
        runtime=given.runtime,
        multi_model=given.multi_model,
        host=given.host,
        http_port=http_port,
        socket=given.socket,
        grpc_port=grpc_port,
        grpc_socket=given.grpc_socket,
        direct_port=given.direct_port,
        tls=_tls(parser, given.tls_cert, given.tls_key),
        threads=given.nthread,
        trust_code=given.trust_code,
        max_body=given.max_body,
        max_message=given.max_message or max(given.message_lengths, default=defaults.MAX_GRPC_MESSAGE_BYTES),
        policy=Policy(
            max_queue=given.max_queue,
            max_queue_bytes=given.max_queue_bytes,
            queue_target=given.queue_target / 1000,
            mode=Mode(given.execution),
            instances=given.instances,
            max_batch_size=given.max_batch_size,
            max_batch_latency=given.max_batch_latency / 1000,
            preferred_batch_sizes=given.preferred_batch_sizes,
            response_cache=given.response_cache,
            response_cache_ttl=given.response_cache_ttl,
        ),
        compile=Compile(given.compile),
        compile_cache=given.compile_cache,
        compile_report=given.compile_report,
        grace=given.grace,
        termination_file=given.termination_file,
        ignored=tuple(dict.fromkeys(given.ignored)),
        settings=dict(given.settings),
        predictor=given.predictor_host,
        predictor_protocol=PredictorProtocol(given.predictor_protocol),
        predictor_timeout=given.predictor_request_timeout_seconds,
        predictor_tls=given.predictor_use_ssl,
        explainer=given.explainer,
    )


def _parser(script: Path | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=script.name if script is not None else "python -m colonnade.server",
        description="Serves one model over V1, V2 and gRPC. KServe's spellings (--model_name) are accepted.",
        allow_abbrev=False,
        formatter_class=partial(argparse.HelpFormatter, width=_columns()),  # else each flag asks anew, with `shutil`
    )
    add = parser.add_argument
    folder = Path(MODEL_DIR) if script is None else script.parent
    add("--model-name", default=MODEL_NAME, help="the name that requests use (default: %(default)s)")
    add("--model-dir", type=Path, default=folder, help="file or folder of the artefact (default: %(default)s)")
    runtime = "adapter that loads the artefact (default: by suffix)"
    add("--runtime", "--framework", choices=RUNTIMES, default="auto", help=runtime)
    add("--host", default=defaults.HOST, help="address of the TCP ports (default: %(default)s)")
    http = parser.add_mutually_exclusive_group()
    http.add_argument("--http-port", type=_port, help="TCP port of HTTP, 0 for a free one (default: $PORT or 8080)")
    http.add_argument("--socket", help="Unix socket of HTTP instead of a TCP port")
    grpc = parser.add_mutually_exclusive_group()
    grpc.add_argument("--grpc-port", type=_port, help="TCP port of gRPC, 0 for a free one (default: no gRPC)")
    grpc.add_argument("--grpc-socket", help="Unix socket of gRPC instead of a TCP port")
    add("--enable-grpc", type=_boolean, help="true: gRPC on port 8081 if no other address is given; false: none")
    direct = "TCP port, shared with other replicas of the same user, that takes requests once the model is loaded"
    add("--direct-port", type=_port, metavar="PORT", help=direct)
    add("--tls-cert", type=Path, metavar="FILE", help="certificate chain in PEM: the TCP ports take TLS alone")
    add("--tls-key", type=Path, metavar="FILE", help="private key of --tls-cert")
    add("--nthread", type=_positive, help="threads that one prediction may use (default: $OMP_NUM_THREADS or 1)")
    trust = "load artefacts that can execute code, such as any pickle; refused, not even a model.py is run"
    add("--trust-code", action=argparse.BooleanOptionalAction, help=trust)
    add("--max-body", type=_positive, default=defaults.MAX_BODY_BYTES, help="largest HTTP body in bytes")
    message = f"largest gRPC message in bytes (default: {defaults.MAX_GRPC_MESSAGE_BYTES})"
    add("--max-message", type=_positive, help=message)
    add("--max-queue", type=_positive, default=defaults.MAX_QUEUE, help="requests that wait before 429")
    held = "bytes of the requests that wait before 429 (default: %(default)s)"
    add("--max-queue-bytes", type=_positive, default=defaults.MAX_QUEUE_BYTES, metavar="BYTES", help=held)
    target = "milliseconds that a request may wait for its model for long before 429 (default: %(default)g)"
    add("--queue-target", type=_seconds, default=defaults.QUEUE_TARGET * 1000, metavar="MS", help=target)
    where = "where predict runs: on the event loop, a thread, or a process (default: by what its calls take)"
    add("--execution", choices=[str(mode) for mode in Mode], default=Mode.AUTO, help=where)
    add("--instances", type=_positive, default=1, help="copies of the model, each with its own thread or process")
    size = "most rows that one call of predict gets from several requests; 1: none share (default: the model's own)"
    add("--max-batch-size", type=_positive, help=size)
    latency = "milliseconds that rows may wait for others while there is load (default: %(default)g)"
    add("--max-batch-latency", type=_seconds, default=0.0, metavar="MS", help=latency)
    preferred = "sizes at which the model is quick, with commas"
    add("--preferred-batch-sizes", type=_sizes, default=(), metavar="ROWS,...", help=preferred)
    cache = "keep answers for requests that come again, in so many bytes (64Mi) (default: keep none)"
    add("--response-cache", type=_bytes, default=0, metavar="BYTES", help=cache)
    add("--response-cache-ttl", type=_seconds, metavar="SECONDS", help="how long an answer is kept (default: no limit)")
    compiled = "serve scikit-learn, XGBoost and LightGBM models as ONNX where that answers alike (default: %(default)s)"
    add("--compile", choices=[str(mode) for mode in Compile], default=Compile.AUTO, help=compiled)
    add("--compile-cache", type=Path, help="folder that keeps compiled models (default: ~/.cache/colonnade/compiled)")
    add("--compile-report", type=Path, help="JSON file that gets what became of the conversion")
    add("--grace", type=_seconds, default=defaults.GRACE_PERIOD, help="seconds for requests in flight after SIGTERM")
    add("--termination-file", type=Path, help="JSON file that gets the cause of a failed load")
    add("--predictor-host", type=_address, metavar="HOST:PORT", help="what a transformer or an explainer calls")
    spoken = "protocol in which it is called (default: %(default)s)"
    known = [str(protocol) for protocol in PredictorProtocol]
    names = ("--predictor-protocol", *(("--protocol",) if script is None else ()))  # a script's own may mean anything
    add(*names, choices=known, default=PredictorProtocol.V1, help=spoken)
    waits = "seconds that it may take (default: %(default)g)"
    add("--predictor-request-timeout-seconds", type=_seconds, default=TIMEOUT, metavar="SECONDS", help=waits)
    add("--predictor-use-ssl", type=_boolean, default=False, help="true: it speaks TLS")
    for way in ("send", "receive"):
        name = f"--grpc-max-{way}-message-length"
        add(name, dest="message_lengths", action="append", type=_length, default=[], help=argparse.SUPPRESS)
    parser.set_defaults(ignored=[], settings=(), explainer=None, multi_model=False)
    if script is None:  # a script may have flags of these names itself
        several = "--model-dir is a folder of models, which are loaded and unloaded by name over the repository API"
        add("--multi-model", action="store_true", help=several)
        add("--explainer", choices=explainers.NAMES, help="explain the model's answers on :explain")
        for name, takes_value in flags.ADAPTER.items():
            add(name, action=_Setting, nargs=None if takes_value else 0, help=argparse.SUPPRESS)
        consent = parser.add_argument("--trust-remote-code", dest="trust_code", action="store_const", const=True)
        consent.help = consent.default = argparse.SUPPRESS
        for name, flag in flags.FLAGS.items():
            kind = _KINDS.get(flag.effect)
            if kind is not None:
                add(name, action=kind, nargs=None if flag.takes_value else 0, help=argparse.SUPPRESS)
    return parser


def _columns() -> int:
    """Of the terminal that help would go to, less argparse's own margin."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns) - 2
    except (OSError, ValueError):
        return 78


class _Ignored(argparse.Action):
    """Notes a flag that has no effect, so that the log can say so."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.ignored = [*namespace.ignored, option_string]


class _Setting(argparse.Action):
    """Keeps a flag for the adapter."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name = str(option_string).removeprefix("--")
        namespace.settings = (*namespace.settings, (name, values if isinstance(values, str) else "true"))


class _Refused(argparse.Action):
    """Ends with the reason why a flag of KServe's cannot be met."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        parser.error(f"{option_string}: {flags.FLAGS[str(option_string)].note}")


_KINDS: Mapping[flags.Effect, type[argparse.Action]] = {
    flags.Effect.NONE: _Ignored,
    flags.Effect.REFUSED: _Refused,
    flags.Effect.FETCHED: _Refused,
}


def _tls(parser: argparse.ArgumentParser, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        parser.error("--tls-cert and --tls-key need each other")
    try:
        return tls.server_context(certificate, key)
    except InvalidInput as error:
        parser.error(error.message)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _bytes(text: str) -> int:
    number, unit = text[:-2], _UNITS.get(text[-2:])
    if unit is None:
        number, unit = text, 1
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of bytes, such as 67108864 or 64Mi")
    return int(number) * unit


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({_positive(word.strip()) for word in text.split(",")}))


def _length(text: str) -> int:
    return _MOST_BYTES if text == "-1" else _positive(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0 to 65535)")
    return int(text)


def _address(text: str) -> Address:
    """Without a port it is HTTP's own, as in a URL: KServe writes the name of a Kubernetes service."""
    try:
        return Address.parse(text if ":" in text else f"{text}:80")
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(error.message) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds, 0 or more")
    return value


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"
