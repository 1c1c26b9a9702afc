"""`colonnade delete`: objects by name or by manifest; waits until they are gone."""

from __future__ import annotations

import time

import click

from colonnade.cli import output
from colonnade.cli.api import Api, kind_path
from colonnade.cli.exits import CommandFailed
from colonnade.cli.manifests import read_manifests, served_kind
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import namespace_option, split_target
from colonnade.resources.kinds import Kind


@click.command("delete", short_help="delete objects")
@click.argument("target_words", metavar="[KIND/NAME | KIND NAME...]", nargs=-1)
@click.option("-f", "--filename", "sources", multiple=True, help="Delete what these manifests name.")
@namespace_option
@click.option("--ignore-not-found", is_flag=True, help="What is not there counts as deleted.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the objects are gone.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait.")
@output.form_option("table", "name")
@pass_target
def command(
    target: Target,
    target_words: tuple[str, ...],
    sources: tuple[str, ...],
    namespace: str,
    ignore_not_found: bool,
    wait: bool,
    timeout: float,
    form: output.Form,
) -> None:
    """Delete objects by name (`delete isvc NAME`) or by manifest (`delete -f isvc.yaml`)."""
    doomed: list[tuple[Kind, str, str]] = []
    if target_words:
        for kind, name in split_target(target_words):
            if name is None:
                raise click.UsageError(f"name the {kind.plural} to delete: `colonnade delete {kind.singular} NAME`")
            doomed.append((kind, namespace, name))
    for document in read_manifests(sources) if sources else ():
        metadata = document.object.get("metadata") or {}
        doomed.append((served_kind(document), metadata.get("namespace") or namespace, str(metadata.get("name"))))
    if not doomed:
        raise click.UsageError("nothing to delete: give KIND NAME or -f FILE")
    api = Api.from_kubeconfig(target.kubeconfig)
    for kind, scope, name in doomed:
        if api.find(kind, scope, name) is None:
            if not ignore_not_found:
                raise CommandFailed(f'{kind.plural} "{name}" not found in namespace {scope!r}')
            continue
        api.request("DELETE", kind_path(kind, scope, name))
        if wait:
            _wait(api, kind, scope, name, timeout)
        click.echo(output.name(kind, name) + ("" if form == "name" else " deleted"))


def _wait(api: Api, kind: Kind, namespace: str, name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while api.find(kind, namespace, name) is not None:
        if time.monotonic() > deadline:
            raise CommandFailed(f'{kind.singular} "{name}" is still there after {timeout:g} s')
        time.sleep(0.05)
