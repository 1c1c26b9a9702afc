"""From a Pod to the process that the platform starts: variables expanded, sockets placed, the probe chosen. Pure.

The rules are the kubelet's: variables in order, `$(NAME)` expanded where NAME is known, `$$` for a dollar sign.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from colonnade import defaults
from colonnade.control.templates import template
from colonnade.control.workload import variables
from colonnade.platforms.base import PROBE_FAILURES, PROBE_PERIOD, PROBE_TIMEOUT, Probe, ReplicaSpec
from colonnade.runtimes.environments import interpreter

Lookup = Callable[[str, str], Mapping[str, str] | None]
"""The decoded data of a `secrets` or `configmaps` object by resource and name, or None if there is none."""

BUILT_IN_READY = ("/v2/health/ready",)
BUILT_IN_LIVE = ("/v2/health/live",)
_LIVENESS_TIMEOUT = 1.0  # Kubernetes' default
_PREDICTOR = (variables.reference(variables.PREDICTOR), variables.reference(variables.PREDICTOR_GRPC))
_REFERENCE = re.compile(r"\$(?:\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")


class Misconfigured(Exception):
    """A pod that cannot become a process until something else changes: the message names what is missing."""


class Place(NamedTuple):
    """Where a replica shall listen and leave word.

    The ports are free loopback ports, used if the pod's transport is not `socket`. `models` is the
    folder of `model_links`. `direct` is the service's own port, if it has one, and `predictor` the gateway's for what
    calls the predictor, or that of the predictor in the same pod, where `predictor_grpc` is its port for gRPC.
    `compiled` is the folder of
    compiled models, which all replicas share, and `compile_report` the file with what became of this one's. `model_set`
    is the folder of the models of a multi-model service.
    """

    socket: str
    grpc_socket: str
    port: int
    termination: str
    models: str = ""
    direct: int | None = None
    compiled: str = ""
    compile_report: str = ""
    grpc_port: int = 0
    metrics_port: int = 0
    predictor: int | None = None
    model_set: str = ""
    predictor_grpc: int | None = None


def sockets(run: Path, namespace: str, name: str, uid: str) -> tuple[str, str]:
    """Paths of a pod's HTTP and gRPC sockets: short, as a Unix socket's path has 107 bytes at most, and its own."""
    short = hashlib.sha256(f"{namespace}/{name}/{uid}".encode()).hexdigest()[:8]
    return str(run / f"{short}.sock"), str(run / f"{short}.grpc")


def model_links(pod: dict[str, Any], folder: Path) -> dict[Path, Path]:
    """The links that give a pod its single-file models in folders of their own: link to file, below `folder`."""
    listed = (pod["metadata"].get("annotations") or {}).get(template.FILES_ANNOTATION, "[]")
    files = [Path(path) for path in json.loads(listed)]
    return {folder / str(number) / file.name: file for number, file in enumerate(files)}


def spec_of(pod: dict[str, Any], place: Place, lookup: Lookup, number: int = 0) -> ReplicaSpec:
    """A process of a pod: that of its container of this number.

    Raises:
        Misconfigured: a variable refers to a Secret, ConfigMap, field or address that does not exist.
    """
    metadata, container = pod["metadata"], pod["spec"]["containers"][number]
    transport = transport_of(pod, number)
    own = (metadata.get("annotations") or {}).get(template.ENVIRONMENT_ANNOTATION, "")
    words = [*container["command"], *(container.get("args") or ())]
    said = [*words, *(str(entry.get("value") or "") for entry in container.get("env") or ())]
    if place.predictor is None and any(reference in text for reference in _PREDICTOR for text in said):
        raise Misconfigured("the predictor's address is not known yet")
    env = environment(pod, container, _given(place, transport) | _python(own), lookup)
    argv = tuple(expand(word, env) for word in words)
    http = f"unix:{place.socket}" if transport == "socket" else f"127.0.0.1:{place.port}"
    beside = f"127.0.0.1:{place.grpc_port}"
    grpc = {"socket": f"unix:{place.grpc_socket}", "h2c": http, "ports": beside}.get(transport)
    if transport == "front" and place.predictor_grpc != place.predictor:
        grpc = f"{defaults.HOST}:{place.predictor_grpc}"
    model = (metadata.get("annotations") or {}).get(template.MODEL_ANNOTATION, "")
    return ReplicaSpec(
        name=metadata["name"],
        namespace=metadata["namespace"],
        argv=argv,
        env=env,
        cwd=container.get("workingDir"),
        probe=probe_of(container.get("readinessProbe") or {}, http, transport, model),
        liveness=liveness_of(container, http, transport),
        http=http,
        grpc=grpc,
        grace=float(pod["spec"].get("terminationGracePeriodSeconds", defaults.GRACE_PERIOD)),
        termination=place.termination,
        container=behind(pod, number),
    )


def behind(pod: Mapping[str, Any], number: int) -> str:
    """What a platform calls the process of this number beside the pod's name: only the first is the pod's own."""
    return str(pod["spec"]["containers"][number]["name"]) if number else ""


def transport_of(pod: Mapping[str, Any], number: int = 0) -> str:
    """How the process of this number is reached: see `template.Plan.transport`."""
    name = template.BEHIND_ANNOTATION if number else template.TRANSPORT_ANNOTATION
    return str((pod["metadata"].get("annotations") or {}).get(name, "port"))


def _given(place: Place, transport: str) -> dict[str, str]:
    given = {variables.TERMINATION: place.termination}
    given |= {variables.MODELS: place.models} if place.models else {}
    given |= {variables.MODEL_SET: place.model_set} if place.model_set else {}
    given |= {variables.COMPILED: place.compiled, variables.COMPILE_REPORT: place.compile_report}
    given |= {} if place.direct is None else {variables.DIRECT: str(place.direct)}
    for name, port in ((variables.PREDICTOR, place.predictor), (variables.PREDICTOR_GRPC, place.predictor_grpc)):
        given |= {} if port is None else {name: f"{defaults.HOST}:{port}"}
    if transport == "socket":
        return given | {variables.SOCKET: place.socket, variables.GRPC_SOCKET: place.grpc_socket}
    grpc = place.grpc_port if transport == "ports" else place.port
    ports = {variables.PORT: place.port, variables.GRPC_PORT: grpc, variables.METRICS_PORT: place.metrics_port}
    return given | {name: str(port) for name, port in ports.items()}


def _python(folder: str) -> dict[str, str]:
    """The interpreter, and where programs are looked for first: in the replica's own environment, if it has one."""
    if not folder:
        return {variables.PYTHON: sys.executable}
    path = os.pathsep.join((os.path.join(folder, "bin"), os.environ.get("PATH", os.defpath)))
    return {variables.PYTHON: str(interpreter(Path(folder))), "VIRTUAL_ENV": folder, "PATH": path}


def probe_of(wanted: Mapping[str, Any], address: str, transport: str, model: str) -> Probe:
    """How to ask for readiness: as the manifest says, else by the protocol.

    The port of a manifest's probe is the one the container would have had; here it is always the replica's address.
    """
    found = _action(wanted)
    if found is None or (transport == "socket" and found.kind == "tcp"):
        if transport == "socket":
            found = Probe("http", paths=BUILT_IN_READY)
        elif transport == "h2c":
            found = Probe("tcp")
        else:
            found = Probe("http", paths=(*BUILT_IN_READY, f"/v1/models/{model}", "/"))
    return Probe(
        found.kind,
        address,
        found.paths,
        found.command,
        timeout=float(wanted.get("timeoutSeconds") or PROBE_TIMEOUT),
        failures=int(wanted.get("failureThreshold") or PROBE_FAILURES),
        initial_delay=float(wanted.get("initialDelaySeconds") or 0),
    )


def liveness_of(container: Mapping[str, Any], address: str, transport: str) -> Probe | None:
    """How to ask whether the replica is alive, if the manifest wants that, with Kubernetes' defaults.

    A startup probe holds the question back until the replica has been ready.
    """
    wanted = container.get("livenessProbe") or {}
    found = _action(wanted)
    if found is None:
        return None
    if transport == "socket" and found.kind == "tcp":
        found = Probe("http", paths=BUILT_IN_LIVE)
    return Probe(
        found.kind,
        address,
        found.paths,
        found.command,
        timeout=float(wanted.get("timeoutSeconds") or _LIVENESS_TIMEOUT),
        failures=int(wanted.get("failureThreshold") or PROBE_FAILURES),
        initial_delay=float(wanted.get("initialDelaySeconds") or 0),
        period=float(wanted.get("periodSeconds") or PROBE_PERIOD),
        once_ready=bool(container.get("startupProbe")),
    )


def _action(wanted: Mapping[str, Any]) -> Probe | None:
    """What a manifest's probe does; None if it says nothing that is done here."""
    if "exec" in wanted:
        return Probe("exec", command=tuple(wanted["exec"].get("command") or ()))
    if "httpGet" in wanted:
        return Probe("http", paths=("/" + str(wanted["httpGet"].get("path") or "/").lstrip("/"),))
    return Probe("tcp") if "tcpSocket" in wanted else None


def environment(
    pod: Mapping[str, Any], container: Mapping[str, Any], given: Mapping[str, str], lookup: Lookup
) -> dict[str, str]:
    """A container's variables, in the kubelet's order: `envFrom`, then `env`, each seeing those before it."""
    env = dict(given)
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        for key, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if key in source:
                data = _data(lookup, resource, source[key])
                env.update({prefix + name: value for name, value in data.items()})
    for entry in container.get("env") or []:
        if entry.get("valueFrom"):
            value = _referred(pod, entry, lookup)
            if value is not None:
                env[entry["name"]] = value
        else:
            env[entry["name"]] = expand(str(entry.get("value") or ""), env)
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value where NAME is known, `$$` by `$`: Kubernetes' rule for commands and variables."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else env.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


def _data(lookup: Lookup, resource: str, reference: Mapping[str, Any]) -> Mapping[str, str]:
    data = lookup(resource, reference["name"])
    if data is None:
        if reference.get("optional"):
            return {}
        raise Misconfigured(f"{resource} {reference['name']!r} not found; create it in the pod's namespace")
    return data


def _referred(pod: Mapping[str, Any], entry: Mapping[str, Any], lookup: Lookup) -> str | None:
    source = entry["valueFrom"]
    for key, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if key in source:
            reference: Mapping[str, Any] = source[key]
            found: str | None = _data(lookup, resource, reference).get(reference["key"])
            if found is None and not reference.get("optional"):
                raise Misconfigured(f"{resource} {reference['name']!r} has no key {reference['key']!r}")
            return found
    path = (source.get("fieldRef") or {}).get("fieldPath", "")
    metadata = pod["metadata"]
    fields: dict[str, str] = {"metadata.name": metadata["name"], "metadata.namespace": metadata["namespace"]}
    fields |= {"metadata.uid": metadata.get("uid", ""), "status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1"}
    for kind in ("labels", "annotations"):
        fields |= {f"metadata.{kind}['{name}']": value for name, value in (metadata.get(kind) or {}).items()}
    if path not in fields:
        raise Misconfigured(f"env {entry['name']}: valueFrom {', '.join(source)} {path} is not known here; use a value")
    return fields[path]
