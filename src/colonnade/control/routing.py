"""Which requests go to which replicas: from the stored services and pods to the gateway's route table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from colonnade.control import policy, revisions, template
from colonnade.control.podstatus import is_ready
from colonnade.control.workqueue import Key
from colonnade.gateway.guard import Policy
from colonnade.gateway.routes import Backend, Route, RouteTable


def hosts(name: str, namespace: str, domain: str) -> tuple[str, ...]:
    """All host names of a service: Standard and Knative form, of the service and of its predictor, and in-cluster.

    The first one is that of Standard mode, which is the default here.
    """
    found = []
    for label in (name, f"{name}-predictor"):
        found += [f"{label}-{namespace}.{domain}", f"{label}.{namespace}.{domain}"]
        found += [f"{label}.{namespace}.svc.cluster.local", f"{label}.{namespace}.svc", f"{label}.{namespace}"]
    return tuple(found)


def table(
    version: int,
    services: Iterable[dict[str, Any]],
    pods: Iterable[dict[str, Any]],
    addresses: Mapping[Key, tuple[str, str | None]],
    domain: str,
) -> RouteTable:
    """The route table. `addresses` gives where the process of a pod speaks HTTP and gRPC."""
    owned: dict[str, list[dict[str, Any]]] = {}
    for pod in pods:
        for reference in pod["metadata"].get("ownerReferences") or []:
            owned.setdefault(reference["uid"], []).append(pod)
    routes = [_route(isvc, owned.get(isvc["metadata"]["uid"], []), addresses, domain) for isvc in services]
    return RouteTable(version, tuple(sorted(routes, key=lambda route: (route.namespace, route.name))))


def serving_revision(isvc: dict[str, Any]) -> str:
    """The name of the revision that takes the traffic of a service, or ""."""
    predictor = ((isvc.get("status") or {}).get("components") or {}).get("predictor") or {}
    return str(predictor.get("latestRolledoutRevision") or "")


def _route(
    isvc: dict[str, Any],
    pods: list[dict[str, Any]],
    addresses: Mapping[Key, tuple[str, str | None]],
    domain: str,
) -> Route:
    name, namespace = isvc["metadata"]["name"], isvc["metadata"]["namespace"]
    serving = serving_revision(isvc)
    mine = [pod for pod in pods if revisions.of_pod(pod) == serving and not revisions.draining(pod)]
    backends = []
    for pod in sorted(mine, key=lambda pod: pod["metadata"]["name"]):
        address = addresses.get(Key(namespace, pod["metadata"]["name"]))
        if address is not None and is_ready(pod):
            annotations = pod["metadata"].get("annotations") or {}
            mux = annotations.get(template.TRANSPORT_ANNOTATION) == "socket"  # a server of this product
            backends.append(Backend(pod["metadata"]["name"], *address, mux=mux))
    models = [(pod["metadata"].get("annotations") or {}).get(template.MODEL_ANNOTATION) for pod in mine or pods]
    model = next(filter(None, models), name)
    timeout = (isvc["spec"].get("predictor") or {}).get("timeout")
    return Route(
        namespace=namespace,
        name=name,
        model=model,
        hosts=hosts(name, namespace, domain),
        backends=tuple(backends),
        ready=bool(backends),
        reason="" if backends else reason(isvc),
        timeout=float(timeout) if timeout else None,
        policy=_policy(isvc),
    )


def _policy(isvc: dict[str, Any]) -> Policy:
    """What the gateway does when replicas fail; the defaults while the annotations are refused (see `template`)."""
    try:
        return policy.of(isvc["metadata"].get("annotations") or {})
    except ValueError:
        return Policy()


def reason(isvc: dict[str, Any]) -> str:
    """Why a service has no replica to ask, for the caller of a 503.

    That may be anybody, so of a failure only its reason and the exit code are told; its message may quote the log or
    name paths, and is for whoever may read the service.
    """
    status = isvc.get("status") or {}
    found = {condition["type"]: condition for condition in status.get("conditions") or []}
    if found.get("Stopped", {}).get("status") == "True":
        return "it is stopped (annotation serving.kserve.io/stop)"
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo")
    if failure:
        metadata, cause = isvc["metadata"], failure.get("reason") or "failed"
        told = f"`colonnade why {metadata['name']} -n {metadata['namespace']}` says more"
        if failure.get("exitCode") is None:
            return f"{cause}; {told}"
        return f"replica {failure.get('location')} ended with exit code {failure['exitCode']} ({cause}); {told}"
    waits = found.get("PredictorReady", {})
    return str((waits.get("status") == "Unknown" and waits.get("message")) or "its replicas are starting")
