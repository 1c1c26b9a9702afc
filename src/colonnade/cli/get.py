"""`colonnade get`: the server's own table of a kind, or the objects as they are."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from colonnade.cli import output
from colonnade.cli.api import TABLE, Api, kind_path
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import namespace_option, split_target
from colonnade.resources.kinds import Kind


@click.command("get", short_help="list objects, or show one")
@click.argument("target_words", metavar="KIND[/NAME] [NAME]...", nargs=-1, required=True)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", help="Label selector, such as `app=iris`.")
@click.option("-w", "--watch", is_flag=True, help="Go on and print each change.")
@output.form_option("table", "wide", "json", "yaml", "name")
@pass_target
def command(
    target: Target,
    target_words: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    watch: bool,
    form: output.Form,
) -> None:
    """List objects, or show one: `get isvc`, `get isvc NAME`, `get isvc/NAME pod/NAME`."""
    pairs = split_target(target_words)
    api = Api.from_kubeconfig(target.kubeconfig)
    scope = None if all_namespaces else namespace
    if form in ("table", "wide"):
        for kind, name in pairs:
            _table(api, kind, kind_path(kind, scope, name), selector, scope is None, form == "wide")
    else:
        _objects(api, pairs, scope, selector, form)
    if watch:
        kind, name = pairs[0]
        _follow(api, kind, scope, name, selector, form)


def _table(api: Api, kind: Kind, path: str, selector: str, with_namespace: bool, wide: bool) -> None:
    table = api.request("GET", path, params={"labelSelector": selector} if selector else None, accept=TABLE)
    columns = table["columnDefinitions"]
    shown = [index for index, column in enumerate(columns) if wide or _tells(column, index, table["rows"])]
    headings = [columns[index]["name"].upper() for index in shown]
    rows = [[row["cells"][index] for index in shown] for row in table["rows"]]
    if with_namespace and kind.namespaced:
        headings.insert(0, "NAMESPACE")
        for cells, row in zip(rows, table["rows"], strict=True):
            cells.insert(0, row["object"]["metadata"]["namespace"])
    if rows:
        output.table(headings, rows)
    else:
        output.err.print(f"no {kind.plural} found")


def _tells(column: dict[str, Any], index: int, rows: list[dict[str, Any]]) -> bool:
    """Whether a column is for the narrow table: one that is empty in every row tells nothing."""
    return not column.get("priority") and (not rows or any(row["cells"][index] not in ("", None) for row in rows))


def _objects(
    api: Api, pairs: list[tuple[Kind, str | None]], namespace: str | None, selector: str, form: output.Form
) -> None:
    params = {"labelSelector": selector} if selector else None
    answers = [(kind, api.request("GET", kind_path(kind, namespace, name), params=params)) for kind, name in pairs]
    if form == "name":
        for kind, answer in answers:
            for item in answer.get("items", [answer]):
                click.echo(output.name(kind, item["metadata"]["name"]))
    elif len(answers) == 1:
        output.document(answers[0][1], form)
    else:
        output.document({"apiVersion": "v1", "kind": "List", "items": [answer for _, answer in answers]}, form)


def _follow(api: Api, kind: Kind, namespace: str | None, name: str | None, selector: str, form: output.Form) -> None:
    version = api.request("GET", kind_path(kind, namespace), params={"limit": "1"})["metadata"]["resourceVersion"]
    params = {"watch": "true", "resourceVersion": version}
    if name:
        params["fieldSelector"] = f"metadata.name={name}"
    if selector:
        params["labelSelector"] = selector
    for line in api.lines(kind_path(kind, namespace), params):
        change: dict[str, Any] = msgspec.json.decode(line)
        if change["type"] == "BOOKMARK":
            continue
        if form in ("json", "yaml"):
            output.document(change["object"], form)
        else:
            click.echo(f"{change['type'].lower():9} {output.name(kind, change['object']['metadata']['name'])}")
