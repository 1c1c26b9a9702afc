"""`colonnade check`: what of a manifest runs here, field by field, before anything is applied."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from colonnade.cli import output, refusals
from colonnade.cli.exits import FAILED
from colonnade.cli.manifests import read_texts
from colonnade.resources import verdicts
from colonnade.runtimes import images


@click.command("check", short_help="say, field by field, what of a manifest runs here")
@click.option("-f", "--filename", "sources", multiple=True, required=True, help="File, folder or - (standard input).")
@output.form_option("table", "json", "yaml")
@click.pass_context
def command(ctx: click.Context, sources: tuple[str, ...], form: output.Form) -> None:
    """Say, field by field, what of a manifest runs here, is emulated, needs a cluster, or is unknown.

    Exit code 1 if a field is unknown, or a document is invalid or cannot be read.
    """
    texts = read_texts(sources)
    documents = [document for text, name in texts for document in verdicts.check_text(text, name)]
    together = [document.object for document in documents if document.object is not None]
    reports = [report(document, together) for document in documents]
    if form != "table":
        output.document(reports, form)
    else:
        for entry in reports:
            _print(entry)
    if any(entry["invalid"] or "unknown" in entry["verdicts"] for entry in reports):
        ctx.exit(FAILED)


def report(document: verdicts.DocumentVerdicts, together: list[dict[str, Any]]) -> dict[str, Any]:
    """What is said of one document of those that are checked together.

    That is the verdict on each field, how many there are of each, and whether the whole is valid.
    """
    obj = document.object or {}
    metadata = obj.get("metadata")
    invalid = refusals.invalid(obj)
    refused = None if invalid else refusals.refused(obj, images.installed(), together)
    return {
        "source": document.source,
        "line": document.line,
        "kind": obj.get("kind"),
        "name": metadata.get("name") if isinstance(metadata, dict) else None,
        "verdicts": dict(Counter(field.verdict for field in document.fields)),
        "invalid": invalid.message if invalid else None,
        "refused": refused.message if refused else None,
        "fields": [
            {"path": field.path, "value": field.value, "verdict": field.verdict, "note": field.note}
            for field in document.fields
        ],
    }


def _print(entry: dict[str, Any]) -> None:
    title = f"{entry['kind']} {entry['name']}" if entry["kind"] else "unreadable document"
    output.out.print(f"[bold]{title}[/] ({entry['source']}, line {entry['line']})")
    rows = [(field["verdict"], field["path"], _short(field["value"]), field["note"]) for field in entry["fields"]]
    output.table(("VERDICT", "FIELD", "VALUE", "NOTE"), rows)
    output.out.print(", ".join(f"{count} {verdict}" for verdict, count in entry["verdicts"].items()) or "no fields")
    if entry["invalid"]:
        output.out.print("[red]invalid:[/]", end=" ")
        output.out.print(entry["invalid"], markup=False)
    elif entry["refused"]:
        output.out.print("[red]will not run here:[/]", end=" ")
        output.out.print(entry["refused"], markup=False)
    output.out.print()


def _short(value: Any, width: int = 48) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"
