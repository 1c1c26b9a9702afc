"""`colonnade apply`: manifests to the API by server-side apply, so that other writers' fields stay theirs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import msgspec

from colonnade.cli import output
from colonnade.cli.api import Api, Object, kind_path
from colonnade.cli.exits import CommandFailed, NotReady
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import is_ready, namespace_option, service, service_kind
from colonnade.errors import Error
from colonnade.resources import manifest
from colonnade.resources.kinds import Kind, by_kind

FIELD_MANAGER = "colonnade"
SUFFIXES = {".yaml", ".yml", ".json"}


def read_manifests(sources: tuple[str, ...]) -> list[manifest.Manifest]:
    """All documents of files, folders (their YAML and JSON files, in order of name) and `-`.

    Raises:
        CommandFailed: a source is missing, empty or not a manifest; nothing has been sent then.
    """
    found: list[manifest.Manifest] = []
    for source in sources:
        found.extend(_documents(source))
    if not found:
        raise CommandFailed(f"no manifest in {', '.join(sources)}")
    return found


def _documents(source: str) -> list[manifest.Manifest]:
    if "://" in source:
        raise CommandFailed(f"{source}: URLs are not read; download the manifest, look at it, and apply the file")
    try:
        if source == "-":
            return manifest.load(sys.stdin.read(), "standard input")
        path = Path(source)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            return [document for file in files for document in manifest.load(file.read_text(), str(file))]
        return manifest.load(path.read_text(), source)
    except Error as error:
        raise CommandFailed(error.message) from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{source} is not a text file") from None
    except OSError as error:
        raise CommandFailed(f"{source}: {error.strerror}") from None


def served_kind(document: manifest.Manifest) -> Kind:
    """The kind of a document.

    Raises:
        CommandFailed: it is not one that the API serves.
    """
    obj = document.object
    kind = by_kind(str(obj.get("apiVersion")), str(obj.get("kind")))
    if kind is None:
        raise CommandFailed(
            f"{document.source}: {obj.get('kind')} of {obj.get('apiVersion')} is not served here; "
            f"`colonnade check -f` says what is"
        )
    return kind


@click.command("apply", short_help="create or change objects from manifests")
@click.option("-f", "--filename", "sources", multiple=True, required=True, help="File, folder or - (standard input).")
@namespace_option
@click.option("--dry-run", is_flag=True, help="Validate on the server and change nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that another writer owns.")
@click.option("--wait", is_flag=True, help="Wait until the services are Ready; exit code 4 if they are not in time.")
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
            output.names([applied], kind.plural)
        else:
            version = applied["metadata"].get("resourceVersion")
            done = "created" if before is None else "configured"
            if before is not None and before["metadata"].get("resourceVersion") == version:
                done = "unchanged"
            suffix = " (dry run)" if dry_run else ""
            output.out.print(f"{kind.singular}/{applied['metadata']['name']} {done}{suffix}")
    if wait and not dry_run:
        services = [_key(document.object, kind, namespace) for document, kind in documents if kind == service_kind()]
        for scope, name in services:
            wait_ready(api, scope, name, timeout)


def wait_ready(api: Api, namespace: str, name: str, timeout: float) -> None:
    """Returns when the service is Ready in its latest generation.

    Raises:
        CommandFailed: it is not in time, or it is gone.
    """
    deadline = time.monotonic() + timeout
    while not is_ready(service(api, namespace, name)):
        if time.monotonic() > deadline:
            raise NotReady(f"{name} is not Ready after {timeout:g} s; `colonnade why {name}` says why")
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
