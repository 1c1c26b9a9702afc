"""`colonnade check`: what of a manifest runs here, field by field, before anything is applied."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from colonnade.cli import output
from colonnade.cli.apply import read_manifests
from colonnade.cli.exits import FAILED
from colonnade.errors import Error
from colonnade.resources import defaulting, validation, verdicts


@click.command("check", short_help="say, field by field, what of a manifest runs here")
@click.option("-f", "--filename", "sources", multiple=True, required=True, help="File, folder or - (standard input).")
@output.form_option("table", "json", "yaml")
@click.pass_context
def command(ctx: click.Context, sources: tuple[str, ...], form: output.Form) -> None:
    """Say, field by field, what of a manifest runs here, is emulated, needs a cluster, or is unknown.

    Exit code 1 if a field is unknown or the manifest is invalid.
    """
    reports = [report(document.source, document.object) for document in read_manifests(sources)]
    if form != "table":
        output.document(reports, form)
    else:
        for entry in reports:
            _print(entry)
    if any(entry["invalid"] or entry["verdicts"].get("unknown") for entry in reports):
        ctx.exit(FAILED)


def report(source: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The verdicts on one document: per field, counted, and what validation says of the whole."""
    fields = verdicts.check(obj)
    try:
        validation.validate(defaulting.default(obj))
        invalid = None
    except Error as error:
        invalid = error.message
    return {
        "source": source,
        "kind": str(obj.get("kind")),
        "name": str((obj.get("metadata") or {}).get("name")),
        "verdicts": dict(Counter(field.verdict for field in fields)),
        "invalid": invalid,
        "fields": [
            {"path": field.path, "value": field.value, "verdict": field.verdict, "note": field.note} for field in fields
        ],
    }


def _print(entry: dict[str, Any]) -> None:
    output.out.print(f"[bold]{entry['kind']} {entry['name']}[/] ({entry['source']})")
    rows = [(field["verdict"], field["path"], _short(field["value"]), field["note"]) for field in entry["fields"]]
    output.table(("VERDICT", "FIELD", "VALUE", "NOTE"), rows)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in entry["verdicts"].items())
    output.out.print(counts or "no fields")
    if entry["invalid"]:
        output.out.print(f"[red]invalid:[/] {entry['invalid']}")
    output.out.print()


def _short(value: Any, width: int = 48) -> str:
    text = str(value)
    return text if len(text) <= width else text[: width - 1] + "…"
