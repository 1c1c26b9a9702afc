"""`colonnade describe`: an object with what happened to it."""

from __future__ import annotations

import base64
from typing import Any

import click

from colonnade.cli import output
from colonnade.cli.api import Api, Object, kind_path
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import kind_named, namespace_option, split_target
from colonnade.resources import manifest


@click.command("describe", short_help="show an object with its conditions and events")
@click.argument("target_words", metavar="KIND[/NAME] [NAME]", nargs=-1, required=True)
@namespace_option
@output.form_option("table", "json", "yaml", "name")
@pass_target
def command(target: Target, target_words: tuple[str, ...], namespace: str, form: output.Form) -> None:
    """Show an object with its conditions and events."""
    api = Api.from_kubeconfig(target.kubeconfig)
    for kind, name in split_target(target_words):
        if name is None:
            raise click.UsageError(f"name the {kind.singular}: `colonnade describe {kind.singular} NAME`")
        obj: Object = api.request("GET", kind_path(kind, namespace, name))
        events = events_of(api, obj)
        if form == "table":
            _print(obj, events)
        elif form == "name":
            click.echo(output.name(kind, name))
        else:
            output.document({"object": obj, "events": events}, form)


def events_of(api: Api, obj: Object) -> list[Object]:
    """The events about an object, oldest first."""
    metadata = obj["metadata"]
    selector = f"involvedObject.name={metadata['name']},involvedObject.uid={metadata['uid']}"
    events = api.list(kind_named("event"), metadata.get("namespace"), fieldSelector=selector)
    return sorted(events, key=lambda event: str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]))


def _print(obj: Object, events: list[Object]) -> None:
    metadata = obj["metadata"]
    output.out.print(f"[bold]{obj['kind']} {metadata['name']}[/] in {metadata.get('namespace', '(no namespace)')}")
    for title in ("labels", "annotations"):
        for key, value in (metadata.get(title) or {}).items():
            output.out.print(f"  {title[:-1]} {key}={value}", markup=False)
    status: dict[str, Any] = dict(obj.get("status") or {})
    conditions = status.pop("conditions", [])
    for title, part in (("Spec", obj.get("spec")), ("Status", status)):
        if part:
            output.out.print(f"\n[bold]{title}[/]")
            output.out.print(manifest.dump(part, "yaml").rstrip(), markup=False)
    if data := obj.get("data"):
        output.out.print("\n[bold]Data[/]")
        for key, value in data.items():
            shown = f"{len(base64.b64decode(value))} bytes" if obj["kind"] == "Secret" else value
            output.out.print(f"  {key}: {shown}", markup=False)
    if conditions:
        output.out.print("\n[bold]Conditions[/]")
        fields = ("type", "status", "reason", "message", "lastTransitionTime")
        output.table(
            ("TYPE", "STATUS", "REASON", "MESSAGE", "SINCE"),
            [[entry.get(field) for field in fields] for entry in conditions],
        )
    output.out.print("\n[bold]Events[/]")
    if not events:
        output.out.print("none")
        return
    output.table(
        ("LAST SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"),
        [[event.get(field) for field in ("lastTimestamp", "type", "reason", "count", "message")] for event in events],
    )
