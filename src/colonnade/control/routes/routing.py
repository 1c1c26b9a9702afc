"""Which requests go to which replicas: from the stored services and pods to the gateway's route table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from colonnade import defaults
from colonnade.autoscale import settings
from colonnade.control.rollouts import rollout, shadowing
from colonnade.control.templates import template
from colonnade.control.workload import components, policy, revisions
from colonnade.control.workload.podstatus import is_ready
from colonnade.control.workqueue import Key
from colonnade.errors import InvalidInput
from colonnade.gateway.guard import Policy
from colonnade.gateway.payloads.settings import Logging
from colonnade.gateway.routes import Backend, Hold, Route, Target

STOP = "serving.kserve.io/stop"
TAG_ROUTING = "serving.kserve.io/enable-tag-routing"


def hosts(name: str, namespace: str, domain: str) -> tuple[str, ...]:
    """All host names under one name: Standard and Knative form, and in-cluster. The first is that of Standard mode."""
    return (
        f"{name}-{namespace}.{domain}",
        f"{name}.{namespace}.{domain}",
        f"{name}.{namespace}.svc.cluster.local",
        f"{name}.{namespace}.svc",
        f"{name}.{namespace}",
    )


def component_hosts(service: str, component: str, namespace: str, domain: str) -> tuple[str, ...]:
    """All host names of one component of a service."""
    return hosts(f"{service}-{component}", namespace, domain)


def routes(
    isvc: Mapping[str, Any],
    pods: Iterable[dict[str, Any]],
    addresses: Mapping[Key, tuple[str, str | None]],
    domain: str,
    ports: Callable[[str], int | None],
    payloads: Callable[[Mapping[str, Any], str], Logging | None] = lambda isvc, component: None,
) -> Iterator[Route]:
    """The routes of a service, one for each component.

    Args:
        isvc: with its status, which says who gets which share.
        pods: of the service.
        addresses: where the process of a pod speaks HTTP and gRPC.
        domain: the ingress domain.
        ports: the gateway's own port for a component, by its name, if it has one.
        payloads: where those of a component of the service are logged.
    """
    mine = [pod for pod in pods if revisions.owned(pod, isvc) and not revisions.draining(pod)]
    present = [name for name in components.NAMES if isvc["spec"].get(name)]
    entrance = components.TRANSFORMER if components.TRANSFORMER in present else components.PREDICTOR
    for name in present:
        own = [pod for pod in mine if revisions.component_of(pod) == name]
        route = _route(isvc, name, own, addresses, domain, ports(name) or 0, entry=name == entrance)
        yield (
            msgspec.structs.replace(route, logging=payloads(isvc, name)) if isvc["spec"][name].get("logger") else route
        )


def _route(
    isvc: Mapping[str, Any],
    component: str,
    pods: Sequence[dict[str, Any]],
    addresses: Mapping[Key, tuple[str, str | None]],
    domain: str,
    port: int,
    *,
    entry: bool,
) -> Route:
    name, namespace = isvc["metadata"]["name"], isvc["metadata"]["namespace"]
    spec = isvc["spec"][component]
    annotations = isvc["metadata"].get("annotations") or {}
    tags = annotations.get(TAG_ROUTING) == "true"
    own = component_hosts(name, component, namespace, domain)
    past = rollout.past(isvc, component)
    targets = tuple(
        Target(
            share.revision,
            share.percent,
            _backends(share.revision, pods, addresses),
            tuple(f"{share.tag}-{host}" for host in own) if share.tag and tags else (),
        )
        for share in past.shares
    )
    targets = _fallen_back(targets, Target(past.previous, 100, _backends(past.previous, pods, addresses)))
    models = [(pod["metadata"].get("annotations") or {}).get(template.MODEL_ANNOTATION) for pod in pods]
    timeout = spec.get("timeout")
    served = any(target.backends for target in targets)
    wakes = bool(targets) and annotations.get(STOP) != "true" and sleeps(isvc, spec)
    return Route(
        namespace=namespace,
        name=name,
        model=next(filter(None, models), name),
        hosts=(*hosts(name, namespace, domain), *own) if entry else own,
        targets=targets,
        ready=served or wakes,
        reason="" if served else reason(isvc, component),
        timeout=float(timeout) if timeout else None,
        policy=_policy(isvc),
        component=component,
        entry=entry,
        explains=component == components.EXPLAINER,
        port=port,
        concurrency=int(spec.get("containerConcurrency") or 0),
        hold=Hold() if wakes else None,
        shadow=shadowing.of(isvc) if component == components.PREDICTOR else None,
        sticky=str(annotations.get(defaults.STICKY) or ""),
    )


def _fallen_back(targets: tuple[Target, ...], former: Target) -> tuple[Target, ...]:
    """The targets; all to the revision before them, if none of theirs lives and that one still does.

    Its replicas outlive a rollout for a while (see `probation`). When the new ones end, the next requests shall not
    have to wait until the status says so, too.
    """
    alive = any(target.backends for target in targets)
    if not targets or alive or not former.backends:
        return targets
    return (*(msgspec.structs.replace(target, weight=0) for target in targets), former)


def sleeps(isvc: Mapping[str, Any], component: Mapping[str, Any]) -> bool:
    """Whether a component may have no replica, and is woken by a request."""
    try:
        return settings.of(isvc["metadata"], component).least == 0
    except InvalidInput:  # stored before the API refused it
        return False


def _backends(
    revision: str, pods: Iterable[dict[str, Any]], addresses: Mapping[Key, tuple[str, str | None]]
) -> tuple[Backend, ...]:
    """The replicas of a revision that take requests, by name."""
    found = []
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        metadata = pod["metadata"]
        address = addresses.get(Key(metadata["namespace"], metadata["name"]))
        if address is not None and revisions.of_pod(pod) == revision and is_ready(pod):
            transport = (metadata.get("annotations") or {}).get(template.TRANSPORT_ANNOTATION)
            found.append(Backend(metadata["name"], *address, mux=transport == "socket"))  # a server of this product
    return tuple(found)


def _policy(isvc: Mapping[str, Any]) -> Policy:
    """What the gateway does when replicas fail; the defaults while the annotations are refused (see `template`)."""
    try:
        return policy.of(isvc["metadata"].get("annotations") or {})
    except ValueError:
        return Policy()


def reason(isvc: Mapping[str, Any], component: str) -> str:
    """Why a component of a service has no replica to ask, for the caller of a 503.

    That may be anybody, so of a failure only its reason and the exit code are told; its message may quote the log or
    name paths, and is for whoever may read the service.
    """
    status = isvc.get("status") or {}
    found = {condition["type"]: condition for condition in status.get("conditions") or []}
    if found.get("Stopped", {}).get("status") == "True":
        return "it is stopped (annotation serving.kserve.io/stop)"
    metadata = isvc["metadata"]
    told = f"`colonnade why {metadata['name']} -n {metadata['namespace']}` says more"
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo")
    if failure and component == components.PREDICTOR:
        cause = failure.get("reason") or "failed"
        if failure.get("exitCode") is None:
            return f"{cause}; {told}"
        return f"replica {failure.get('location')} ended with exit code {failure['exitCode']} ({cause}); {told}"
    waits = found.get(f"{component.capitalize()}Ready", {})
    if waits.get("status") == "False":
        return f"{waits.get('reason') or 'it failed'}; {told}"
    return str((waits.get("status") == "Unknown" and waits.get("message")) or "its replicas are starting")
