"""`colonnade apply`: manifests to the API by server-side apply, so that other writers' fields stay theirs."""

from __future__ import annotations

import time

import click
import msgspec

from colonnade.cli import graph_causes, output
from colonnade.cli.api import Api, Object, kind_path
from colonnade.cli.causes import is_ready, is_refused
from colonnade.cli.exits import CommandFailed, NotReady
from colonnade.cli.manifests import read_manifests, served_kind
from colonnade.cli.progress import DownloadProgress
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import named, namespace_option
from colonnade.resources.kinds import INFERENCE_GRAPH, INFERENCE_SERVICE, Kind

FIELD_MANAGER = "colonnade"


@click.command("apply", short_help="create or change objects from manifests")
@click.option("-f", "--filename", "sources", multiple=True, required=True, help="File, folder or - (standard input).")
@namespace_option
@click.option("--dry-run", is_flag=True, help="Validate on the server and change nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that another writer owns.")
@click.option("--wait", is_flag=True, help="Wait until services and graphs are Ready; exit code 4 if they are not.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait.")
@output.form_option("table", "json", "yaml", "name")
@pass_target
def command(
    target: Target,
    sources: tuple[str, ...],
    namespace: str,
    dry_run: bool,
    force_conflicts: bool,
    wait: bool,
    timeout: float,
    form: output.Form,
) -> None:
    """Create or change objects from manifests."""
    documents = [(document, served_kind(document)) for document in read_manifests(sources)]
    api = Api.from_kubeconfig(target.kubeconfig)
    for document, kind in documents:
        before = api.find(kind, *_key(document.object, kind, namespace))
        applied = apply_object(api, kind, document.object, namespace, dry_run=dry_run, force=force_conflicts)
        if form in ("json", "yaml"):
            output.document(applied, form)
        elif form == "name":
            click.echo(output.name(kind, applied["metadata"]["name"]))
        else:
            done = "created" if before is None else "unchanged" if before == applied else "configured"
            suffix = " (dry run)" if dry_run else ""
            click.echo(f"{output.name(kind, applied['metadata']['name'])} {done}{suffix}")
    if wait and not dry_run:
        for awaited in (INFERENCE_SERVICE, INFERENCE_GRAPH):  # a graph is Ready when its services are
            for document, kind in documents:
                if kind is awaited:
                    wait_ready(api, kind, *_key(document.object, kind, namespace), timeout)


def wait_ready(api: Api, kind: Kind, namespace: str, name: str, timeout: float) -> None:
    """Returns when the service or graph is Ready in its latest generation.

    Raises:
        NotReady: it is not in time, or its spec can never run here.
        CommandFailed: it is gone.
    """
    deadline = time.monotonic() + timeout
    word = f"ig/{name}" if kind is INFERENCE_GRAPH else name
    refused = graph_causes.is_refused if kind is INFERENCE_GRAPH else is_refused
    with DownloadProgress() as progress:
        while not is_ready(found := named(api, kind, namespace, name)):
            if refused(found):
                raise NotReady(f"{name} cannot run as it is; `colonnade why {word}` says why")
            if time.monotonic() > deadline:
                raise NotReady(f"{name} is not Ready after {timeout:g} s; `colonnade why {word}` says why")
            progress.show(found)
            time.sleep(0.05)


def apply_object(
    api: Api, kind: Kind, obj: Object, namespace: str, *, dry_run: bool = False, force: bool = False
) -> Object:
    """Server-side applies one object; the object as it is stored."""
    parameters = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
    if dry_run:
        parameters["dryRun"] = "All"
    applied: Object = api.request(
        "PATCH",
        kind_path(kind, *_key(obj, kind, namespace)),
        params=parameters,
        body=msgspec.json.encode(obj),
        content_type="application/apply-patch+yaml",
    )
    return applied


def _key(obj: Object, kind: Kind, namespace: str) -> tuple[str, str]:
    metadata = obj.get("metadata") or {}
    name = metadata.get("name")
    if not name:
        raise CommandFailed(f"a {kind.kind} has no metadata.name")
    return metadata.get("namespace") or namespace, name
