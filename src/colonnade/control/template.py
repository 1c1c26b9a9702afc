"""What one replica of an InferenceService runs: from its (defaulted) manifest to a Pod. Pure.

A Pod here is what a kubelet would be given, with the same conventions: `/mnt/models` for the model, `$(NAME)` for
variables. Where the sockets lie and which port is free is known only where the process is started, so the arguments
name them as variables (`$(COLONNADE_SOCKET)`) and `replica` expands them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from colonnade import defaults, flags
from colonnade.control import policy, revisions
from colonnade.control.revisions import Revision
from colonnade.control.selection import Runtimes
from colonnade.resources import served
from colonnade.runtimes import catalogue
from colonnade.runtimes.catalogue import RuntimeEntry

MODEL_MOUNT = "/mnt/models"  # where KServe puts the artefact
CONTAINER = "kserve-container"
KSERVE_BATCH_SIZE = 32  # what a `batcher` without maxBatchSize asks for
PYTHON_VARIABLE = "COLONNADE_PYTHON"  # the interpreter of the control plane that starts the process
SOCKET_VARIABLE = "COLONNADE_SOCKET"
GRPC_SOCKET_VARIABLE = "COLONNADE_GRPC_SOCKET"
MODELS_VARIABLE = "COLONNADE_MODELS"  # a folder with one folder for each of `FILES_ANNOTATION`
DIRECT_VARIABLE = "COLONNADE_DIRECT_PORT"  # the service's own port, if it has one
COMPILED_VARIABLE = "COLONNADE_COMPILED"
COMPILE_REPORT_VARIABLE = "COLONNADE_COMPILE_REPORT"
TERMINATION_VARIABLE = "COLONNADE_TERMINATION_FILE"
TRANSPORT_ANNOTATION = "colonnade.dev/transport"  # `socket`: Unix sockets; `port`: HTTP on $PORT; `h2c`: gRPC on $PORT
FILES_ANNOTATION = "colonnade.dev/model-files"  # JSON: models that are single files and are expected in a folder
MODEL_ANNOTATION = "colonnade.dev/model"  # the model name that the replica answers to

_PLACED = frozenset(name for name, flag in flags.FLAGS.items() if flag.effect is flags.Effect.PLACED)


class Refusal(NamedTuple):
    """Why a valid manifest cannot run here. `reason` is one of KServe's failure reasons."""

    reason: str
    message: str


class Source(NamedTuple):
    """A model to fetch, and the path at which the container expects it."""

    uri: str
    mount: str = MODEL_MOUNT


@dataclass(frozen=True)
class Plan:
    """How to run one component.

    Attributes:
        container: the container as Kubernetes writes it, everything decided but the paths of fetched models.
        model: the model name that the replica answers to.
        transport: see `TRANSPORT_ANNOTATION`.
        sources: what to fetch before a replica can start.
        runtime: name of the ClusterServingRuntime that was chosen, or "" for a custom container.
        runtime_digest: of what that runtime gives to a replica: another one makes another revision.
        pod: further fields of the pod's spec.
    """

    container: dict[str, Any]
    model: str
    transport: str
    sources: tuple[Source, ...] = ()
    runtime: str = ""
    runtime_digest: str = ""
    pod: dict[str, Any] = field(default_factory=dict)


def plan(isvc: dict[str, Any], component: str, runtimes: Runtimes) -> Plan | Refusal:
    """Decide how to run a component of a defaulted InferenceService, or say why it cannot run here.

    `component` is a key of `spec` that the manifest has: `predictor`, `transformer` or `explainer`. `runtimes` are
    those that the service may choose from.
    """
    spec = isvc["spec"]
    for other in ("transformer", "explainer"):
        if spec.get(other):
            return _unsupported(f"spec.{other}", "a chain of components is not run on one machine yet; remove it")
    annotations = isvc["metadata"].get("annotations") or {}
    wanted = annotations.get(defaults.DIRECT, "false")
    if wanted not in ("true", "false"):
        text = f'annotation {defaults.DIRECT} must be "true" or "false", not {wanted!r}'
        return Refusal("InvalidPredictorSpec", text)
    try:
        policy.of(annotations)
    except ValueError as error:
        return Refusal("InvalidPredictorSpec", str(error))
    predictor = spec["predictor"]
    if predictor.get("workerSpec"):
        return _unsupported("spec.predictor.workerSpec", "multi-node serving needs a cluster; remove it")
    if predictor.get("initContainers"):
        return _unsupported("spec.predictor.initContainers", "init containers are not run as processes; remove them")
    model = predictor.get("model")
    for container in [model] if model is not None else predictor.get("containers") or []:
        for probe in ("readinessProbe", "livenessProbe"):
            if "grpc" in (container.get(probe) or {}):
                return _unsupported(f"{probe}.grpc", "use httpGet, exec or tcpSocket")
    if model is not None:
        return _built_in(isvc, model)
    containers = predictor.get("containers") or []
    if not containers:
        return Refusal("InvalidPredictorSpec", "spec.predictor names neither a model nor a container; add `model`.")
    if len(containers) > 1:
        names = ", ".join(str(found.get("name")) for found in containers)
        return _unsupported(
            "spec.predictor.containers", f"one process per replica is run, not {names}; keep {CONTAINER} only"
        )
    return _custom(isvc, containers[0])


def pod(
    isvc: dict[str, Any],
    component: str,
    plan: Plan,
    revision: Revision,
    models: Mapping[str, Path],
    is_file: Callable[[Path], bool] = Path.is_file,
) -> dict[str, Any]:
    """The Pod of a replica, yet without a name. `models` gives the local path of each source's URI.

    A mount stands for a folder, as in KServe, also where the model is one file (`is_file`): `replica` makes a folder
    that holds it. Only the built-in server takes the file itself.
    """
    namespace, extension = isvc["metadata"]["namespace"], isvc["spec"][component]
    mounts: dict[str, str] = {}
    files: list[str] = []
    for source in plan.sources:
        path = models[source.uri]
        mounts[source.mount] = str(path)
        if plan.transport != "socket" and is_file(path):
            mounts[source.mount] = f"$({MODELS_VARIABLE})/{len(files)}"
            files.append(str(path.absolute()))
    container = {
        **plan.container,
        "command": [_mounted(word, mounts) for word in plan.container.get("command") or []],
        "args": [_mounted(word, mounts) for word in plan.container.get("args") or []],
        "env": [
            {**entry, "value": _mounted(entry["value"], mounts)} if "value" in entry else entry
            for entry in _environment(revision, plan)
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "labels": {**(extension.get("labels") or {}), **revisions.labels(revision)},
            "annotations": {
                **(extension.get("annotations") or {}),
                revisions.HASH_ANNOTATION: revision.digest,
                TRANSPORT_ANNOTATION: plan.transport,
                MODEL_ANNOTATION: plan.model,
                **({FILES_ANNOTATION: json.dumps(files)} if files else {}),
            },
            "ownerReferences": [revisions.owner(isvc)],
        },
        "spec": {"containers": [container], "restartPolicy": "Always", **plan.pod},
        "status": {"phase": "Pending"},
    }


def named(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """Another replica of what `pod` is one of."""
    metadata = {key: pod["metadata"][key] for key in ("namespace", "labels", "annotations", "ownerReferences")}
    kept = {key: value for key, value in metadata["annotations"].items() if key != revisions.DRAINING_ANNOTATION}
    return {**pod, "metadata": {**metadata, "name": name, "annotations": kept}, "status": {"phase": "Pending"}}


def _built_in(isvc: dict[str, Any], model: dict[str, Any]) -> Plan | Refusal:
    entry = _runtime(model)
    if isinstance(entry, Refusal):
        return entry
    if model.get("storage"):
        return _unsupported("spec.predictor.model.storage", "use storageUri with a path, file:// or http(s)://")
    if model.get("command"):
        return _unsupported(
            "spec.predictor.model.command", f"the runtime {entry.name} has its own; use `containers` for your own"
        )
    predictor = isvc["spec"]["predictor"]
    sources = _sources(predictor, model.get("storageUri"))
    if not sources:
        return Refusal("InvalidPredictorSpec", "spec.predictor.model.storageUri is missing: say where the model lies.")
    return _served(isvc, entry, model, sources)


def _runtime(model: dict[str, Any]) -> RuntimeEntry | Refusal:
    """Which runtime serves a model; messages and reasons are those of KServe's controller."""
    wanted = model.get("modelFormat") or {}
    name, version = wanted.get("name", ""), wanted.get("version")
    protocol, runtime = model.get("protocolVersion"), model.get("runtime")
    if not runtime:
        found = catalogue.for_format(name, protocol)
        if found is None:
            shown = f"{name} {version}" if version else name
            return Refusal(
                "NoSupportingRuntime",
                f"No runtime found to support specified framework/version: modelFormat {shown}"
                + (f", protocolVersion {protocol}" if protocol else ""),
            )
        return found
    entry = catalogue.for_name(runtime)
    if entry is None:
        return Refusal("RuntimeNotRecognized", f"Waiting for runtime to become available: {runtime} is not known here")
    serving = catalogue.for_name(runtime, name)
    if serving is None:
        return Refusal(
            "NoSupportingRuntime",
            f"Specified runtime does not support specified framework/version: {runtime} serves no {name}",
        )
    if protocol and protocol not in serving.protocols:
        return Refusal(
            "NoSupportingRuntime",
            f"Specified runtime does not support specified protocol version: {runtime} speaks "
            f"{', '.join(serving.protocols)}, not {protocol}",
        )
    return serving


def _served(isvc: dict[str, Any], entry: RuntimeEntry, container: dict[str, Any], sources: tuple[Source, ...]) -> Plan:
    """A replica of the built-in server."""
    user = _own_flags(container.get("args") or [])
    name = model_name(user, isvc["metadata"]["name"])
    args = ["--model-name", name, "--runtime", entry.runtime, "--model-dir", sources[0].mount]
    args += ["--socket", f"$({SOCKET_VARIABLE})", "--grpc-socket", f"$({GRPC_SOCKET_VARIABLE})"]
    args += ["--termination-file", f"$({TERMINATION_VARIABLE})"]
    args += ["--compile-cache", f"$({COMPILED_VARIABLE})", "--compile-report", f"$({COMPILE_REPORT_VARIABLE})"]
    predictor = isvc["spec"]["predictor"]
    args += ["--grace", f"{grace(predictor):g}"]
    consent = (isvc["metadata"].get("annotations") or {}).get(defaults.TRUST_CODE)
    if consent == "true":
        args.append("--trust-code")
    elif not all(served.scheme_of(source.uri) in served.LOCAL_SCHEMES for source in sources):
        args.append("--no-trust-code")  # a model.py that the operator placed on this machine runs, no other
    if direct(isvc):
        args += ["--direct-port", f"$({DIRECT_VARIABLE})"]
    args += _batching(predictor.get("batcher"))
    args += [f"{flag}={value}" for flag, value in _annotated(isvc)]
    refusal = ["--no-trust-code"] if consent == "false" else []  # stands last, where no flag of the manifest undoes it
    built = {
        **_container_fields(container),
        "name": CONTAINER,
        "command": [f"$({PYTHON_VARIABLE})", "-m", "colonnade.server"],
        "args": args + user + refusal,
    }
    return Plan(built, name, "socket", sources, entry.name, pod=_pod_fields(predictor))


def direct(isvc: dict[str, Any]) -> bool:
    """Whether the service wants a port of its own."""
    return bool((isvc["metadata"].get("annotations") or {}).get(defaults.DIRECT) == "true")


def _batching(batcher: dict[str, Any] | None) -> list[str]:
    """The server's flags that `batcher` stands for. The size that it leaves out is that of KServe's batcher."""
    if batcher is None:
        return []
    given = [f"--max-batch-size={batcher.get('maxBatchSize') or KSERVE_BATCH_SIZE}"]
    if batcher.get("maxLatency"):
        given.append(f"--max-batch-latency={batcher['maxLatency']}")
    return given


def _annotated(isvc: dict[str, Any]) -> list[tuple[str, str]]:
    """The server's flags that stand as annotations of the service."""
    annotations = isvc["metadata"].get("annotations") or {}
    return [(flag, str(annotations[name])) for name, flag in flags.ANNOTATIONS.items() if name in annotations]


def _custom(isvc: dict[str, Any], container: dict[str, Any]) -> Plan | Refusal:
    predictor = isvc["spec"]["predictor"]
    environment = {entry.get("name"): entry.get("value") for entry in container.get("env") or []}
    sources = _sources(predictor, environment.get("STORAGE_URI"))
    service = isvc["metadata"]["name"]
    if container.get("command"):
        if direct(isvc):
            return _unsupported(f"annotation {defaults.DIRECT}", "a server of your own has its own port; remove it")
        ports = container.get("ports") or []
        http2 = bool(ports) and ports[0].get("name") in ("h2c", "grpc", "http2")
        own = {**_container_fields(container), "name": container.get("name") or CONTAINER}
        own |= {"command": list(container["command"]), "args": list(container.get("args") or [])}
        name = model_name(own["args"], service)
        return Plan(own, name, "h2c" if http2 else "port", sources, pod=_pod_fields(predictor))
    image = container.get("image") or ""
    entry = catalogue.for_image(image)
    if entry is None:
        return Refusal(
            "InvalidPredictorSpec",
            f"spec.predictor.containers[0].image {image!r} cannot be run: no container engine is used on this machine "
            "and it is not an image of KServe whose runtime is built in. Give `command` to run the server as a local "
            "process (it gets PORT), or use `model` with a modelFormat.",
        )
    if not sources:
        return Refusal(
            "InvalidPredictorSpec",
            f"spec.predictor.containers[0].env has no STORAGE_URI, so {image} has no model to serve; add it.",
        )
    return _served(isvc, entry, container, sources)


def _sources(predictor: dict[str, Any], uri: str | None) -> tuple[Source, ...]:
    if uri:
        return (Source(uri),)
    return tuple(
        Source(entry["uri"], entry.get("mountPath") or MODEL_MOUNT) for entry in predictor.get("storageUris") or []
    )


def _unsupported(path: str, why: str) -> Refusal:
    return Refusal("InvalidPredictorSpec", f"{path} is not run on this machine: {why}.")


def grace(predictor: dict[str, Any]) -> float:
    """Seconds from SIGTERM to SIGKILL."""
    return float(predictor.get("terminationGracePeriodSeconds") or defaults.GRACE_PERIOD)


def _pod_fields(predictor: dict[str, Any]) -> dict[str, Any]:
    kept = {"terminationGracePeriodSeconds": int(grace(predictor))}
    if predictor.get("serviceAccountName"):
        return {**kept, "serviceAccountName": predictor["serviceAccountName"]}
    return kept


def _container_fields(container: dict[str, Any]) -> dict[str, Any]:
    """What a container keeps of a manifest; `model` has fields beside those of a container."""
    probes = ("readinessProbe", "livenessProbe", "startupProbe")
    kept = ("image", "env", "envFrom", "ports", "resources", "workingDir", *probes)
    return {key: container[key] for key in kept if container.get(key)}


def _own_flags(args: list[str]) -> list[str]:
    """A user's flags for the built-in server, less those that say where it listens and finds its model."""
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


def model_name(args: list[str], default: str) -> str:
    """The model name in a server's arguments (`--model_name=x`, `--model-name x`), else the service's."""
    found = default
    for index, word in enumerate(args):
        flag, equals, value = str(word).partition("=")
        if flag.replace("_", "-") != "--model-name":
            continue
        if equals:
            found = value
        elif index + 1 < len(args):
            found = str(args[index + 1])
    return found.replace("{{.Name}}", default)


def _environment(revision: Revision, plan: Plan) -> list[dict[str, Any]]:
    """The user's variables after those that KServe and Knative set, as a user may refer to them."""
    configuration = f"{revision.service}-{revision.component.infix}"
    given = [
        {"name": "INFERENCE_SERVICE_NAME", "value": revision.service},
        {"name": "K_SERVICE", "value": configuration},
        {"name": "K_CONFIGURATION", "value": configuration},
        {"name": "K_REVISION", "value": revision.name},
    ]
    if plan.sources:
        given.append({"name": "MODEL_DIR", "value": plan.sources[0].mount})
    own = plan.container.get("env") or []
    names = {entry["name"] for entry in own}
    return [entry for entry in given if entry["name"] not in names] + list(own)


def _mounted(text: str, mounts: Mapping[str, str]) -> str:
    """`text` with each mount path, as a whole path component or a prefix of one, replaced by where the model lies."""
    for mount in sorted(mounts, key=len, reverse=True):
        start = 0
        while (found := text.find(mount, start)) >= 0:
            end = found + len(mount)
            whole = end == len(text) or not (text[end].isalnum() or text[end] in "-_.")
            local = mounts[mount]
            text, start = (text[:found] + local + text[end:], found + len(local)) if whole else (text, end)
    return text
