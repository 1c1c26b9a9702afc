"""`colonnade rollout`: what revisions a service has, who gets the traffic, and how to move it by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
import msgspec

from colonnade import defaults
from colonnade.cli import apply, output
from colonnade.cli.api import Api, Object, kind_path
from colonnade.cli.exits import NOT_READY, CommandFailed, Outdated
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import kind_named, namespace_option, service, service_kind
from colonnade.control.api import ownership
from colonnade.control.rollouts import progress, shadowing
from colonnade.control.workload import components, revisions
from colonnade.control.workload.components import PREDICTOR, Component
from colonnade.control.workload.revisions import Revision

POLL = 0.2  # seconds
FIELD_MANAGER = "colonnade-rollout"

component_option = click.option(
    "--component", type=click.Choice(components.NAMES), default=PREDICTOR, show_default=True, help="Which component."
)


@click.group("rollout", short_help="follow a rollout, go back, promote, pause")
def command() -> None:
    """Follow and steer the rollouts of a service's revisions."""


@command.command("status", short_help="show who gets the traffic; wait until the rollout is over")
@click.argument("name")
@namespace_option
@click.option("--watch/--no-watch", default=True, show_default=True, help="Wait until the rollout is over.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait.")
@output.form_option("table", "json", "yaml")
@click.pass_context
@pass_target
def status(
    target: Target, ctx: click.Context, name: str, namespace: str, watch: bool, timeout: float, form: output.Form
) -> None:
    """Show each revision's share. Exit code 0 once the service is Ready as its manifest wants it, else 4."""
    api = Api.from_kubeconfig(target.kubeconfig)
    deadline = time.monotonic() + timeout
    while not _settled(found := service(api, namespace, name)) and watch and time.monotonic() < deadline:
        time.sleep(POLL)
    if form == "table":
        output.table(("COMPONENT", "REVISION", "PERCENT", "TAG", "LATEST"), _shares(found))
        for line in _notes(found):
            click.echo(line)
    else:
        output.document((found.get("status") or {}).get("components") or {}, form)
    if not _settled(found):
        ctx.exit(NOT_READY)


@command.command("history", short_help="list the revisions that are kept")
@click.argument("name")
@namespace_option
@component_option
@output.form_option("table", "json", "yaml", "name")
@pass_target
def history(target: Target, name: str, namespace: str, component: str, form: output.Form) -> None:
    """List the revisions of a component, the oldest first."""
    api = Api.from_kubeconfig(target.kubeconfig)
    found = service(api, namespace, name)
    kind = kind_named("controllerrevision")
    kept = _stored(api, found, component)
    if form == "name":
        for each in kept:
            click.echo(output.name(kind, each["metadata"]["name"]))
    elif form in ("json", "yaml"):
        output.document({"apiVersion": "v1", "kind": "List", "items": kept}, form)
    else:
        shares = {row[1]: row[2] for row in _shares(found)}
        rows = [_row(revisions.read(each), shares) for each in kept]
        output.table(("REVISION", "NAME", "PERCENT", "STATE", "CREATED", "MODEL"), rows)


@command.command("undo", short_help="go back to an earlier revision")
@click.argument("name")
@namespace_option
@component_option
@click.option("--to-revision", "number", type=int, help="Number of the revision; default: the one before the last.")
@pass_target
def undo(target: Target, name: str, namespace: str, component: str, number: int | None) -> None:
    """Put an earlier revision's template into the manifest, as a new revision, which takes the traffic when ready."""
    api = Api.from_kubeconfig(target.kubeconfig)
    found = service(api, namespace, name)
    _require(found, component)
    kept = [revisions.read(each) for each in _stored(api, found, component)]
    wanted = _earlier(found, component, kept, number)

    def changed(isvc: Object) -> Object:
        now = Component(component, "", isvc["spec"][component])
        fresh = components.restored(isvc, now, wanted.template)
        fresh["spec"][component].pop("canaryTrafficPercent", None)
        if wanted.component.variant:
            fresh["spec"][component]["name"] = wanted.component.variant
        return fresh

    _replace(api, namespace, name, changed)
    click.echo(f"{output.name(service_kind(), name)} rolled back to the template of {wanted.name}")


@command.command("promote", short_help="give the latest revision, or a variant, all the traffic")
@click.argument("name")
@click.argument("variant", required=False)
@namespace_option
@component_option
@pass_target
def promote(target: Target, name: str, variant: str | None, namespace: str, component: str) -> None:
    """End a canary: the latest revision gets all the traffic; or VARIANT of `spec.canary` becomes the predictor."""
    api = Api.from_kubeconfig(target.kubeconfig)
    found = service(api, namespace, name)
    _require(found, component)
    latest = (((found.get("status") or {}).get("components") or {}).get(component) or {}).get("latestCreatedRevision")

    def changed(isvc: Object) -> Object:
        spec = dict(isvc["spec"])
        if variant is not None:
            return {**isvc, "spec": _promoted(spec, variant)}
        spec[component] = {key: value for key, value in spec[component].items() if key != "canaryTrafficPercent"}
        annotations = {**(isvc["metadata"].get("annotations") or {}), defaults.ROLLOUT_PROMOTED: latest or ""}
        annotations.pop(defaults.ROLLOUT_PAUSED, None)
        return {**isvc, "metadata": {**isvc["metadata"], "annotations": annotations}, "spec": spec}

    _replace(api, namespace, name, changed)
    click.echo(f"{output.name(service_kind(), name)} promoted {variant or latest}")


@command.command("pause", short_help="keep the traffic as it is")
@click.argument("name")
@namespace_option
@pass_target
def pause(target: Target, name: str, namespace: str) -> None:
    """Move no traffic to newer revisions until `colonnade rollout resume`; they start, and wait."""
    _annotate(target, namespace, name, {defaults.ROLLOUT_PAUSED: "true"})
    click.echo(f"{output.name(service_kind(), name)} paused")


@command.command("resume", short_help="go on with a rollout that was paused")
@click.argument("name")
@namespace_option
@pass_target
def resume(target: Target, name: str, namespace: str) -> None:
    """Let the traffic move again."""
    _annotate(target, namespace, name, {defaults.ROLLOUT_PAUSED: None})
    click.echo(f"{output.name(service_kind(), name)} resumed")


def _annotate(target: Target, namespace: str, name: str, marks: dict[str, str | None]) -> None:
    api = Api.from_kubeconfig(target.kubeconfig)
    service(api, namespace, name)
    body = msgspec.json.encode({"metadata": {"annotations": marks}})
    path = kind_path(service_kind(), namespace, name)
    parameters = {"fieldManager": FIELD_MANAGER}
    api.request("PATCH", path, params=parameters, body=body, content_type="application/merge-patch+json")


def _replace(api: Api, namespace: str, name: str, changed: Callable[[Object], Object]) -> None:
    """Write a changed manifest; a manifest of somebody else's in between is not overwritten but refused by the API."""
    found = _put(api, service(api, namespace, name), changed)
    handed = ownership.handed_over(found, FIELD_MANAGER, apply.FIELD_MANAGER, "spec")
    if handed != found:  # or the next `colonnade apply` would be refused for fields that are its own
        _put(api, found, lambda isvc: ownership.handed_over(isvc, FIELD_MANAGER, apply.FIELD_MANAGER, "spec"))


def _put(api: Api, found: Object, changed: Callable[[Object], Object]) -> Object:
    """Write a change to what was found, and once more where only its status has moved on since."""
    metadata = found["metadata"]
    path = kind_path(service_kind(), metadata["namespace"], metadata["name"])
    while True:
        body = msgspec.json.encode({key: value for key, value in changed(found).items() if key != "status"})
        try:
            stored: Object = api.request("PUT", path, params={"fieldManager": FIELD_MANAGER}, body=body)
        except Outdated:
            found = service(api, metadata["namespace"], metadata["name"])
            if found["metadata"]["generation"] != metadata["generation"]:
                raise
        else:
            return stored


def _promoted(spec: dict[str, Any], variant: str) -> dict[str, Any]:
    """The spec with a variant as its predictor."""
    canaries = spec.get("canary") or []
    chosen = next((each for each in canaries if each["predictor"].get("name") == variant), None)
    if chosen is None:
        names = ", ".join(str(each["predictor"].get("name")) for each in canaries) or "none"
        raise CommandFailed(f"spec.canary has no variant {variant!r}; there are: {names}")
    stable = spec["predictor"]
    merged = components.merged(stable, chosen["predictor"])
    if "minReplicas" in stable:
        merged["minReplicas"] = stable["minReplicas"]
    rest = [each for each in canaries if each is not chosen]
    kept = {key: value for key, value in spec.items() if key != "canary"}
    return {**kept, "predictor": merged, **({"canary": rest} if rest else {})}


def _stored(api: Api, isvc: Object, component: str) -> list[Object]:
    """The ControllerRevisions of a component, the oldest first."""
    metadata = isvc["metadata"]
    selector = f"{revisions.SERVICE_LABEL}={metadata['name']},{revisions.COMPONENT_LABEL}={component}"
    kept = api.list(kind_named("controllerrevision"), metadata["namespace"], labelSelector=selector)
    return sorted((each for each in kept if revisions.owned(each, isvc)), key=lambda each: int(each["revision"]))


def _earlier(isvc: Object, component: str, kept: list[Revision], number: int | None) -> Revision:
    """The revision to go back to."""
    if number is None:
        if len(kept) < 2:
            raise CommandFailed("there is no earlier revision to go back to")
        stable = str(isvc["spec"][component].get("name") or "")  # the variants of spec.canary are none to go back to
        mine = [each for each in kept if each.component.variant == stable]
        if not mine:
            raise CommandFailed(f"no revision of {component} {stable!r} is kept; name one with --to-revision")
        before = [each for each in mine if each.digest != mine[-1].digest and not each.rejected]
        if not before:
            raise CommandFailed("no earlier revision differs from the last one; name one with --to-revision")
        return before[-1]
    found = next((each for each in kept if each.order == number), None)
    if found is None:
        known = ", ".join(str(each.order) for each in kept) or "none"
        raise CommandFailed(f"there is no revision {number} of {component}; kept are: {known}")
    return found


def _require(isvc: Object, component: str) -> None:
    """Raises CommandFailed: the service has no such component."""
    present = [name for name in components.NAMES if isvc["spec"].get(name)]
    if component not in present:
        name = isvc["metadata"]["name"]
        raise CommandFailed(f"InferenceService {name!r} has no {component}; it has: {', '.join(present)}")


def _settled(isvc: Object) -> bool:
    """Whether the traffic is where the present manifest wants it."""
    status = isvc.get("status") or {}
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in status.get("conditions") or [])
    under_way = progress.recorded(status.get("annotations") or {})
    return ready and not under_way and status.get("observedGeneration") == isvc["metadata"].get("generation")


def _shares(isvc: Object) -> list[tuple[str, str, Any, str, str]]:
    found = (isvc.get("status") or {}).get("components") or {}
    return [
        (name, each["revisionName"], each.get("percent"), each.get("tag", ""), "yes" if each["latestRevision"] else "")
        for name, component in found.items()
        for each in component.get("traffic") or []
    ]


def _notes(isvc: Object) -> list[str]:
    """What the service waits for, in words."""
    status = isvc.get("status") or {}
    lines = [
        f"{name}: {found.revision} is at {found.percent} % of its rollout"
        for name, found in progress.recorded(status.get("annotations") or {}).items()
    ]
    shadow = shadowing.recorded(status.get("annotations") or {})
    if shadow is not None:
        compared = ", ".join(f"{count} {outcome}" for outcome, count in sorted(shadow.outcomes.items()))
        lines.append(f"{shadow.revision} is a shadow of {shadow.percent:g} % of the requests: {compared or 'none yet'}")
    ready: Object = next((each for each in status.get("conditions") or [] if each.get("type") == "Ready"), {})
    return [*lines, str(ready["message"])] if ready.get("message") else lines


def _row(revision: Revision, shares: dict[str, Any]) -> tuple[Any, ...]:
    spec = revision.template["spec"]
    container: dict[str, Any] = next(iter(spec.get("containers") or []), {})
    program = " ".join(container.get("command") or []) or container.get("image", "")
    model = (spec.get("model") or {}).get("storageUri") or program
    state = (
        "rolled back"
        if revision.rejected
        else "failed"
        if revision.fell
        else "ready"
        if revision.proven
        else "never ready"
    )
    return revision.order, revision.name, shares.get(revision.name), state, revision.created, model
