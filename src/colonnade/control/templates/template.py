"""What one replica of a component runs: from a (defaulted) manifest and its runtime to a Pod. Pure.

A Pod here is what a kubelet would be given, with the same conventions: `/mnt/models` for the model, `$(NAME)` for
variables. Where the sockets lie and which port is free is known only where the process is started, so the arguments
name them as variables (`variables`) and `replica` expands them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from colonnade import defaults
from colonnade.control.runtimes import builtserver, engines, listening
from colonnade.control.runtimes.isolation import SHARED, Isolation
from colonnade.control.runtimes.listening import Listening
from colonnade.control.runtimes.merge import UnknownPlaceholder, containers, filled, tagged
from colonnade.control.runtimes.selection import Refusal as Refusal
from colonnade.control.runtimes.selection import Runtime, Runtimes, Wanted, choose
from colonnade.control.templates import artexplainer, chaining, collocation, serverdefaults
from colonnade.control.templates.annotation_rules import causes
from colonnade.control.workload import claims, components, revisions, sources, variables
from colonnade.control.workload.revisions import Revision
from colonnade.control.workload.sources import Source
from colonnade.resources import served, trainedmodel

CONTAINER = "kserve-container"
HUGGING_FACE = "huggingface"  # the adapter
TRANSPORT_ANNOTATION = "colonnade.dev/transport"  # see `Plan.transport`
BEHIND_ANNOTATION = "colonnade.dev/transport-behind"  # the same of a process that stands behind the pod's first one
FILES_ANNOTATION = "colonnade.dev/model-files"  # JSON: models that are single files and are expected in a folder
MODEL_ANNOTATION = "colonnade.dev/model"  # the model name that the replica answers to
ENVIRONMENT_ANNOTATION = "colonnade.dev/environment"  # the folder of the replica's own Python environment

_MODEL_ONLY = frozenset({"modelFormat", "runtime", "runtimeVersion", "protocolVersion", "storageUri", "storage"})
_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
_KEPT = ("image", "env", "envFrom", "ports", "resources", "workingDir", *_PROBES)  # of a container, by a pod


@dataclass(frozen=True)
class Plan:
    """How to run one component.

    Attributes:
        container: the container as Kubernetes writes it, everything decided but the paths of fetched models.
        model: the model name that the replica answers to.
        transport: `socket`: Unix sockets; `port`: HTTP on $PORT; `h2c`: gRPC on $PORT; `ports`: HTTP on $PORT and gRPC
            on $GRPC_PORT; `front`: HTTP on $PORT, and gRPC where the process behind it has it.
        sources: what to fetch before a replica can start.
        isolation: which Python environment it runs in.
        chosen: the runtime, None for a custom container.
        pod: further fields of the pod's spec.
        front: a second process of each replica, which takes its requests and calls the container's.
    """

    container: dict[str, Any]
    model: str
    transport: str
    sources: tuple[Source, ...] = ()
    isolation: Isolation = SHARED
    chosen: Runtime | None = None
    pod: dict[str, Any] = field(default_factory=dict)
    front: Listening | None = None

    @property
    def runtime(self) -> str:
        """The name of the runtime, or ""."""
        return "" if self.chosen is None else self.chosen.name

    @property
    def runtime_kind(self) -> str:
        """`ServingRuntime`, `ClusterServingRuntime` or ""."""
        return "" if self.chosen is None else self.chosen.kind

    @property
    def runtime_digest(self) -> str:
        """Of the runtime: another one makes another revision."""
        return "" if self.chosen is None else self.chosen.digest


def plan(isvc: dict[str, Any], component: str, runtimes: Runtimes, *, former: bool = False) -> Plan | Refusal:
    """Decide how to run a component of a defaulted InferenceService, or say why it cannot run here.

    `component` is a key of `spec` that the manifest has: `predictor`, `transformer` or `explainer`. `runtimes` are
    those that the service may choose from. A `former` revision has run before: how its service is routed to by now is
    no part of it, and a mistake in that is no reason not to run it again.
    """
    refusal = (None if former else _service_refusal(isvc)) or _component_refusal(isvc, component)
    if refusal is not None:
        return refusal
    extension = isvc["spec"][component]
    model = extension.get("model") if component == components.PREDICTOR else None
    art = _art_of(extension, component)
    try:
        if art is not None:
            return _adversary(isvc, art, runtimes)
        transformer = collocation.transformer_of(extension)
        said = model if model is not None else next(each for each in extension["containers"] if each is not transformer)
        made = _of_runtime(isvc, said, runtimes) if model is not None else _custom(isvc, component, said, runtimes)
        if transformer is not None and not isinstance(made, Refusal):
            made = _collocated(isvc, made, transformer, said)
        if extension.get("batcher") is None or isinstance(made, Refusal) or _batches(made):
            return made
        return _joined(made, component, extension)
    except ValueError as error:  # the manifest or the runtime contradicts itself
        return Refusal("InvalidPredictorSpec", str(error))


def pod(
    isvc: dict[str, Any],
    component: str,
    plan: Plan,
    revision: Revision,
    models: Mapping[str, Path],
    environment: Path | None = None,
    is_file: Callable[[Path], bool] = Path.is_file,
) -> dict[str, Any]:
    """The Pod of a replica, yet without a name.

    A mount stands for a folder, as in KServe, also where the model is one file (`is_file`): `replica` makes a folder
    that holds it. Only the built-in server takes the file itself.

    Args:
        models: the local path of what was fetched for each mount.
        environment: the Python environment of its own, if it has one.
    """
    extension = isvc["spec"][component]
    mounts: dict[str, str] = {}
    files: list[str] = []
    for source in plan.sources:
        path = models[source.mount]
        mounts[source.mount] = str(path)
        if plan.transport != "socket" and is_file(path):
            mounts[source.mount] = f"{variables.reference(variables.MODELS)}/{len(files)}"
            files.append(str(path.absolute()))
    runs = plan.container if plan.chosen is not None else claims.undefaulted(plan.container)
    made = [runs] if plan.front is None else [claims.undefaulted(plan.front.container), runs]
    given = plan.chosen.spec if plan.chosen is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": isvc["metadata"]["namespace"],
            "labels": {
                **(given.get("labels") or {}),
                **(extension.get("labels") or {}),
                **revisions.labels(revision),
            },
            "annotations": {
                **(given.get("annotations") or {}),
                **(extension.get("annotations") or {}),
                **_shared(isvc),
                revisions.HASH_ANNOTATION: revision.digest,
                TRANSPORT_ANNOTATION: plan.transport if plan.front is None else plan.front.transport,
                **({} if plan.front is None else {BEHIND_ANNOTATION: plan.transport}),
                MODEL_ANNOTATION: plan.model,
                **({FILES_ANNOTATION: json.dumps(files)} if files else {}),
                **({ENVIRONMENT_ANNOTATION: str(environment)} if environment is not None else {}),
            },
            "ownerReferences": [revisions.owner(isvc)],
        },
        "spec": {
            "containers": [_placed(container, _environment(revision, plan, container), mounts) for container in made],
            "restartPolicy": "Always",
            **plan.pod,
        },
        "status": {"phase": "Pending"},
    }


def named(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """Another replica of what `pod` is one of."""
    metadata = {key: pod["metadata"][key] for key in ("namespace", "labels", "annotations", "ownerReferences")}
    kept = {key: value for key, value in metadata["annotations"].items() if key != revisions.DRAINING_ANNOTATION}
    return {**pod, "metadata": {**metadata, "name": name, "annotations": kept}, "status": {"phase": "Pending"}}


def direct(isvc: Mapping[str, Any]) -> bool:
    """Whether the service wants a port of its own."""
    return bool((isvc["metadata"].get("annotations") or {}).get(defaults.DIRECT) == "true")


def _service_refusal(isvc: dict[str, Any]) -> Refusal | None:
    """What of the service as a whole is not run."""
    wrong = next(causes(isvc), None)
    return None if wrong is None else Refusal("InvalidPredictorSpec", wrong.message)


def _component_refusal(isvc: dict[str, Any], component: str) -> Refusal | None:
    """What of a component is not run."""
    extension, path = isvc["spec"][component], f"spec.{component}"
    if extension.get("workerSpec"):
        return _unsupported(f"{path}.workerSpec", "multi-node serving needs a cluster; remove it")
    if extension.get("initContainers"):
        return _unsupported(f"{path}.initContainers", "init containers are not run as processes; remove them")
    model, given = extension.get("model"), extension.get("containers") or []
    for container in [model] if model is not None else [*given, _art_of(extension, component) or {}]:
        for probe in ("readinessProbe", "livenessProbe"):
            if "grpc" in (container.get(probe) or {}):
                return _unsupported(f"{probe}.grpc", "use httpGet, exec or tcpSocket")
    transformer = collocation.transformer_of(extension) if component == components.PREDICTOR else None
    if model is None and not given and _art_of(extension, component) is None:
        return Refusal("InvalidPredictorSpec", f"{path} names neither a model nor a container; add `model`.")
    if model is None and sum(each is not transformer for each in given) > 1:
        names = ", ".join(str(found.get("name")) for found in given)
        why = f"a replica is {CONTAINER} and at most a {served.TRANSFORMER_CONTAINER}, not {names}; remove the others"
        return _unsupported(f"{path}.containers", why)
    return None


def _art_of(extension: dict[str, Any], component: str) -> dict[str, Any] | None:
    """KServe's built-in explainer, if a component is one."""
    return extension.get("art") if component == components.EXPLAINER else None


def _of_runtime(isvc: dict[str, Any], model: dict[str, Any], runtimes: Runtimes) -> Plan | Refusal:
    """A model, by the runtime that serves its format."""
    wanted = model.get("modelFormat") or {}
    asked = Wanted(
        wanted.get("name", ""), wanted.get("version"), model.get("protocolVersion"), model.get("runtime") or ""
    )
    several = trainedmodel.several(isvc["spec"][components.PREDICTOR])
    runtime = choose(asked._replace(multi_model=several), runtimes)
    if isinstance(runtime, Refusal) and several:  # none is made for several models alone
        runtime = choose(asked, runtimes)
    if isinstance(runtime, Refusal):
        return runtime
    base = next((each for each in runtime.spec.get("containers") or () if each.get("name") == CONTAINER), None)
    if base is None:
        text = "No container configuration found in selected serving runtime"
        return Refusal("InvalidPredictorSpec", f"{text}: {runtime.name} has no container named {CONTAINER}; add it.")
    metadata = isvc["metadata"]
    fetched = sources.of(isvc["spec"][components.PREDICTOR], model, metadata.get("annotations") or {})
    own = {key: value for key, value in model.items() if key not in _MODEL_ONLY}
    given = serverdefaults.of(runtime, asked.name, model.get("protocolVersion") or runtime.lowest_protocol)
    container = containers(base, serverdefaults.added(own, given, metadata["name"], stored=bool(fetched)))
    if model.get("runtimeVersion"):
        container["image"] = tagged(str(container.get("image") or ""), str(model["runtimeVersion"]))
    known = {**metadata, "labels": {**given.labels, **(metadata.get("labels") or {})}}
    known["annotations"] = {"modelFormat": asked.name, **(metadata.get("annotations") or {})}
    try:
        container = filled(container, known)
    except UnknownPlaceholder as error:
        return Refusal("InvalidPredictorSpec", f"{runtime.kind} {runtime.name}: {error}.")
    isolation = Isolation.of(isvc, components.PREDICTOR, runtime, fetched)
    match engines.of(container, asked.name, runtimes.programs, brought=bool(isolation.lines)):
        case engines.Adapter(adapter, flags):
            if not flags:
                container = {**container, "args": filled(own.get("args") or [], known)}
            fetched = fetched or _of_hub(isvc, model, adapter, container)
            isolation = Isolation.of(isvc, components.PREDICTOR, runtime, fetched)
            if not fetched and not several:
                text = "spec.predictor.model.storageUri is missing: say where the model lies."
                return Refusal("InvalidPredictorSpec", text)
            return _served(isvc, adapter, container, fetched, isolation, runtime)
        case engines.Program(words):
            return _program(isvc, components.PREDICTOR, container, words, fetched, isolation, runtime)
        case engines.Nothing(reason):
            text = f"{runtime.kind} {runtime.name}, chosen for modelFormat {asked.shown}, cannot run on this machine"
            return Refusal("NoSupportingRuntime", f"{text}: {reason}")


def _of_hub(
    isvc: dict[str, Any], holder: Mapping[str, Any], adapter: str, container: Mapping[str, Any]
) -> tuple[Source, ...]:
    """The model that arguments of Hugging Face's server name at the hub: fetched as any other, not by the server."""
    uri = builtserver.hub_uri(container.get("args") or ()) if adapter == HUGGING_FACE else ""
    annotations = isvc["metadata"].get("annotations") or {}
    return sources.of(isvc["spec"][components.PREDICTOR], {**holder, "storageUri": uri}, annotations) if uri else ()


def _custom(isvc: dict[str, Any], component: str, container: dict[str, Any], runtimes: Runtimes) -> Plan | Refusal:
    """A container of the manifest's own."""
    fetched = sources.of(isvc["spec"][component], container, isvc["metadata"].get("annotations") or {})
    isolation = Isolation.of(isvc, component, None, fetched)
    if component != components.PREDICTOR:
        return _chained(isvc, component, container, fetched, isolation)
    if container.get("command"):
        words = (*map(str, container["command"]), *map(str, container.get("args") or ()))
        return _program(isvc, component, container, words, fetched, isolation, None)
    match engines.of(container, None, runtimes.programs, brought=bool(isolation.lines)):
        case engines.Adapter(adapter, flags):
            if not flags:
                container = {**container, "args": []}
            fetched = fetched or _of_hub(isvc, container, adapter, container)
            isolation = Isolation.of(isvc, component, None, fetched)
            if not fetched:
                path = f"spec.{component}.containers[0].env"
                text = f"{path} has no STORAGE_URI, so {container.get('image')} has no model to serve; add it."
                return Refusal("InvalidPredictorSpec", text)
            return _served(isvc, adapter, container, fetched, isolation, None)
        case engines.Program(words):
            placed = listening.placed({**container, "command": list(words[:1]), "args": list(words[1:])})
            return _program(isvc, component, placed.container, words, fetched, isolation, None)
        case engines.Nothing(reason):
            text = f"spec.{component}.containers[0]: {reason} Or use `model` with a modelFormat."
            return Refusal("InvalidPredictorSpec", text)


def _served(
    isvc: dict[str, Any],
    adapter: str,
    container: dict[str, Any],
    fetched: tuple[Source, ...],
    isolation: Isolation,
    runtime: Runtime | None,
) -> Plan:
    """A replica of the built-in server."""
    extension = isvc["spec"][components.PREDICTOR]
    own = [str(word) for word in container.get("args") or ()]
    name = builtserver.model_name(own, isvc["metadata"]["name"])
    annotations = isvc["metadata"].get("annotations") or {}
    args = builtserver.arguments(adapter, name, fetched, own, annotations, extension, direct=direct(isvc))
    built = {**_container_fields(container), "name": CONTAINER, "command": builtserver.command(), "args": args}
    return Plan(built, name, "socket", fetched, isolation._replace(adapter=adapter), runtime, _pod_fields(extension))


def _program(
    isvc: dict[str, Any],
    component: str,
    container: dict[str, Any],
    words: tuple[str, ...],
    fetched: tuple[Source, ...],
    isolation: Isolation,
    runtime: Runtime | None,
) -> Plan | Refusal:
    """A replica of somebody else's server."""
    if direct(isvc):
        return _unsupported(f"annotation {defaults.DIRECT}", "a server of your own has its own port; remove it")
    listens = listening.Listening(dict(container), listening.transport(container))
    if runtime is not None:
        listens = listening.placed({**container, "command": list(words[:1]), "args": list(words[1:])})
    made = listens.container
    own = {**_container_fields(made), "name": container.get("name") or CONTAINER}
    own |= {"command": list(made.get("command") or ()), "args": list(made.get("args") or ())}
    name = builtserver.model_name(own["args"], isvc["metadata"]["name"])
    fields = _pod_fields(isvc["spec"][component])
    return Plan(own, name, listens.transport, fetched, isolation, runtime, fields)


def _chained(
    isvc: dict[str, Any], component: str, container: dict[str, Any], fetched: tuple[Source, ...], isolation: Isolation
) -> Plan | Refusal:
    """A replica of a transformer or an explainer: a program that is told where the predictor is."""
    path = f"spec.{component}.containers[0]"
    if not container.get("command"):
        image = container.get("image") or ""
        why = "no container engine is used on this machine; give a `command` that runs as a local process"
        return Refusal("InvalidPredictorSpec", f"{path}: image {image!r} cannot be run: {why}.")
    if direct(isvc):
        return _unsupported(f"annotation {defaults.DIRECT}", f"requests would pass spec.{component} by; remove it")
    service, extension = isvc["metadata"]["name"], isvc["spec"][component]
    made = chaining.chained(container, service, extension)
    own = {**_container_fields(made.container), "name": container.get("name") or CONTAINER}
    own |= {"command": list(made.container["command"]), "args": list(made.container["args"])}
    name = builtserver.model_name(own["args"], service)
    return Plan(own, name, made.transport, fetched, isolation, None, _pod_fields(extension))


def _adversary(isvc: dict[str, Any], art: dict[str, Any], runtimes: Runtimes) -> Plan | Refusal:
    """A replica of KServe's built-in explainer."""
    isolation = Isolation.of(isvc, components.EXPLAINER, None, ())
    container = artexplainer.container(art, runtimes.programs, brought=bool(isolation.lines))
    return _chained(isvc, components.EXPLAINER, container, (), isolation._replace(adapter=artexplainer.ADAPTER))


def _collocated(
    isvc: dict[str, Any], predictor: Plan, transformer: dict[str, Any], said: dict[str, Any]
) -> Plan | Refusal:
    """A predictor with a transformer before it in the same pod. `said` is the predictor as the manifest has it."""
    path = f"spec.predictor.containers[name={served.TRANSFORMER_CONTAINER}]"
    if not transformer.get("command"):
        image = transformer.get("image") or ""
        why = "no container engine is used on this machine; give a `command` that runs as a local process"
        return Refusal("InvalidPredictorSpec", f"{path}: image {image!r} cannot be run: {why}.")
    if direct(isvc):
        return _unsupported(f"annotation {defaults.DIRECT}", f"requests would pass {path} by; remove it")
    if trainedmodel.several(isvc["spec"][components.PREDICTOR]):
        return _unsupported(path, "models of TrainedModels are served without one; put it under spec.transformer")
    if predictor.transport == "socket":
        args = builtserver.on_port(predictor.container["args"])
        behind = Listening({**predictor.container, "args": args}, "port")
    else:
        behind = collocation.predictor(predictor.container)
    front = collocation.transformer(transformer, said)
    own = {**_container_fields(front.container), "name": served.TRANSFORMER_CONTAINER}
    own |= {"command": list(front.container["command"]), "args": list(front.container.get("args") or ())}
    name = builtserver.model_name(own["args"], isvc["metadata"]["name"])
    return replace(
        predictor,
        container={**behind.container, "name": CONTAINER},
        transport=behind.transport,
        model=name,
        front=front._replace(container=own),
    )


def _batches(plan: Plan) -> bool:
    """Whether the built-in server is among what a plan runs: it joins requests by itself."""
    return bool(plan.container["command"] == builtserver.command())


def _joined(plan: Plan, component: str, extension: Mapping[str, Any]) -> Plan | Refusal:
    """A program of somebody else's, with what joins requests before it."""
    path = f"spec.{component}.batcher"
    if plan.front is not None:
        return _unsupported(path, f"{served.TRANSFORMER_CONTAINER} stands before the predictor already; remove one")
    if plan.transport == "h2c":
        return _unsupported(path, "requests of HTTP are joined, and the program's port speaks gRPC alone; remove it")
    front = builtserver.batch_proxy(extension)
    probe = plan.container.get("readinessProbe") or {}
    if "httpGet" in probe:
        front["readinessProbe"] = probe
    return replace(plan, front=Listening(front, "front"))


def _unsupported(path: str, why: str) -> Refusal:
    return Refusal("InvalidPredictorSpec", f"{path} is not run on this machine: {why}.")


def _pod_fields(extension: dict[str, Any]) -> dict[str, Any]:
    kept = {"terminationGracePeriodSeconds": int(builtserver.grace(extension))}
    passed = ("serviceAccountName", "priority", "resources")
    return kept | {name: extension[name] for name in passed if extension.get(name)}


def _shared(isvc: Mapping[str, Any]) -> dict[str, str]:
    """The annotations of a service that are its pods' too."""
    annotations = isvc["metadata"].get("annotations") or {}
    return {name: annotations[name] for name in (defaults.GPU_SHARE,) if name in annotations}


def _container_fields(container: dict[str, Any]) -> dict[str, Any]:
    """What a container keeps of a manifest; `model` has fields beside those of a container."""
    return {key: container[key] for key in _KEPT if container.get(key)}


def _placed(container: dict[str, Any], env: list[dict[str, Any]], mounts: Mapping[str, str]) -> dict[str, Any]:
    """A container whose words and variables name the local paths of what is mounted."""
    return {
        **container,
        "command": [_mounted(word, mounts) for word in container.get("command") or []],
        "args": [_mounted(word, mounts) for word in container.get("args") or []],
        "env": [{**entry, "value": _mounted(entry["value"], mounts)} if "value" in entry else entry for entry in env],
    }


def _environment(revision: Revision, plan: Plan, container: Mapping[str, Any]) -> list[dict[str, Any]]:
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
    own = container.get("env") or []
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
