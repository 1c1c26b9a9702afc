"""The command line of the built-in server for one replica. Pure.

The words come from four sides: what the platform places, the annotations of the service, the runtime's arguments and
the manifest's; of a flag that stands several times the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colonnade import defaults, flags
from colonnade.control.workload import variables
from colonnade.control.workload.sources import Source
from colonnade.control.workload.variables import reference
from colonnade.resources import served

KSERVE_BATCH_SIZE = 32  # what a `batcher` without maxBatchSize asks for

_OURS = (flags.Effect.PLACED, flags.Effect.FETCHED)
_PLACED = {name for name, flag in flags.FLAGS.items() if flag.effect in _OURS} | {"--model-name"}


def command() -> list[str]:
    """What starts it."""
    return [reference(variables.PYTHON), "-m", "colonnade.server"]


def arguments(
    adapter: str,
    model: str,
    sources: Sequence[Source],
    own: Sequence[str],
    annotations: Mapping[str, str],
    component: Mapping[str, Any],
    *,
    direct: bool,
) -> list[str]:
    """Its arguments.

    Args:
        adapter: the adapter that loads the model, or `auto`.
        model: the name that it answers to.
        sources: the model's; the first one is served. Without one the models of TrainedModels are.
        own: the arguments of runtime and manifest.
        annotations: the service's.
        component: the component of the manifest.
        direct: whether the service has a port of its own.
    """
    args = ["--model-name", model, "--runtime", adapter]
    args += ["--model-dir", sources[0].mount if sources else reference(variables.MODEL_SET)]
    args += [] if sources else ["--multi-model"]
    args += ["--socket", reference(variables.SOCKET), "--grpc-socket", reference(variables.GRPC_SOCKET)]
    args += ["--termination-file", reference(variables.TERMINATION)]
    args += ["--compile-cache", reference(variables.COMPILED)]
    args += ["--compile-report", reference(variables.COMPILE_REPORT)]
    args += ["--grace", f"{grace(component):g}"]
    consent = annotations.get(defaults.TRUST_CODE)
    if consent == "true":
        args.append("--trust-code")
    elif not local(sources):
        args.append("--no-trust-code")  # a model.py that the operator placed on this machine runs, no other
    if direct:
        args += ["--direct-port", reference(variables.DIRECT)]
    args += batching(component.get("batcher"))
    args += [f"{flag}={annotations[name]}" for name, flag in flags.ANNOTATIONS.items() if name in annotations]
    refusal = ["--no-trust-code"] if consent == "false" else []  # stands last, where no flag of the manifest undoes it
    return args + own_flags(own) + refusal


def batch_proxy(component: Mapping[str, Any]) -> dict[str, Any]:
    """The container of what joins requests before a server that is not built in. KServe calls its own `agent`."""
    args = ["--port", reference(variables.PORT), "--server", reference(variables.PREDICTOR)]
    args += ["--grace", f"{grace(component):g}", *batching(component.get("batcher"))]
    if component.get("containerConcurrency"):
        args += ["--calls", str(component["containerConcurrency"])]
    return {"name": "agent", "command": [*command()[:-1], "colonnade.server.batchproxy"], "args": args}


def on_port(args: Sequence[str]) -> list[str]:
    """The same arguments for a server that programs ask by a port: it takes all protocols, gRPC too."""
    sockets = ("--socket", "--grpc-socket")
    kept = [word for place, word in enumerate(args) if word not in sockets and args[max(0, place - 1)] not in sockets]
    return ["--http-port", reference(variables.PORT), *kept]


def local(sources: Iterable[Source]) -> bool:
    """Whether all that is served was placed on this machine by its operator."""
    return all(
        served.scheme_of(uri) in served.LOCAL_SCHEMES
        for source in sources
        for uri in (source.uri, *(piece.uri for piece in source.pieces))
    )


def grace(component: Mapping[str, Any]) -> float:
    """Seconds from SIGTERM to SIGKILL."""
    return float(component.get("terminationGracePeriodSeconds") or defaults.GRACE_PERIOD)


def own_flags(args: Sequence[str]) -> list[str]:
    """Flags for the built-in server, less those that say where it listens, finds its model and what that is called."""
    kept: list[str] = []
    words = iter([str(word) for word in args])
    for word in words:
        flag, equals, _ = word.partition("=")
        if word.startswith("--") and flag.replace("_", "-") in _PLACED:
            if not equals:
                next(words, None)
            continue
        kept.append(word)
    return kept


def model_name(args: Sequence[str], default: str) -> str:
    """The model name in a server's arguments (`--model_name=x`, `--model-name x`), else the service's."""
    return given(args, "--model-name", default).replace("{{.Name}}", default)


def hub_uri(args: Sequence[str]) -> str:
    """The URI of the model that a server's arguments name at the hub (`--model_id`, `--model_revision`), or ""."""
    identity, revision = given(args, "--model-id"), given(args, "--model-revision")
    return f"hf://{identity}{f':{revision}' if revision else ''}" if identity else ""


def given(args: Sequence[str], name: str, default: str = "") -> str:
    """The last value of a flag in arguments; both spellings count (`--model_name=x`, `--model-name x`)."""
    found = default
    for index, word in enumerate(args):
        flag, equals, value = str(word).partition("=")
        if flag.replace("_", "-") != name:
            continue
        if equals:
            found = value
        elif index + 1 < len(args):
            found = str(args[index + 1])
    return found


def batching(batcher: Mapping[str, Any] | None) -> list[str]:
    """The server's flags that `batcher` stands for. The size that it leaves out is that of KServe's batcher."""
    if batcher is None:
        return []
    given = [f"--max-batch-size={batcher.get('maxBatchSize') or KSERVE_BATCH_SIZE}"]
    if batcher.get("maxLatency"):
        given.append(f"--max-batch-latency={batcher['maxLatency']}")
    return given
