"""`colonnade check`: what of a manifest runs here, field by field, before anything is applied."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from colonnade.cli import output
from colonnade.cli.exits import FAILED
from colonnade.cli.manifests import read_texts
from colonnade.control import builtin, template
from colonnade.errors import Error
from colonnade.resources import defaulting, validation, verdicts
from colonnade.resources.kinds import INFERENCE_SERVICE, by_kind
from colonnade.runtimes import images
from colonnade.storage import fetch


@click.command("check", short_help="say, field by field, what of a manifest runs here")
@click.option("-f", "--filename", "sources", multiple=True, required=True, help="File, folder or - (standard input).")
@output.form_option("table", "json", "yaml")
@click.pass_context
def command(ctx: click.Context, sources: tuple[str, ...], form: output.Form) -> None:
    """Say, field by field, what of a manifest runs here, is emulated, needs a cluster, or is unknown.

    Exit code 1 if a field is unknown, or a document is invalid or cannot be read.
    """
    texts = read_texts(sources)
    reports = [report(document) for text, name in texts for document in verdicts.check_text(text, name)]
    if form != "table":
        output.document(reports, form)
    else:
        for entry in reports:
            _print(entry)
    if any(entry["invalid"] or "unknown" in entry["verdicts"] for entry in reports):
        ctx.exit(FAILED)


def report(document: verdicts.DocumentVerdicts) -> dict[str, Any]:
    """What is said of one document: the verdict on each field, how many of each, and whether the whole is valid."""
    obj = document.object or {}
    metadata = obj.get("metadata")
    return {
        "source": document.source,
        "line": document.line,
        "kind": obj.get("kind"),
        "name": metadata.get("name") if isinstance(metadata, dict) else None,
        "verdicts": dict(Counter(field.verdict for field in document.fields)),
        "invalid": (invalid := _invalid(obj)),
        "refused": None if invalid else _refused(obj),
        "fields": [
            {"path": field.path, "value": field.value, "verdict": field.verdict, "note": field.note}
            for field in document.fields
        ],
    }


def _invalid(obj: dict[str, Any]) -> str | None:
    if by_kind(obj.get("apiVersion"), obj.get("kind")) is None:
        return None
    try:
        validation.validate(defaulting.default(obj))
    except Error as error:
        return error.message
    return None


def _refused(obj: dict[str, Any]) -> str | None:
    """Why a valid service would not run on this machine at all; None if it would."""
    if by_kind(obj.get("apiVersion"), obj.get("kind")) is not INFERENCE_SERVICE:
        return None
    planned = template.plan(defaulting.default(obj), "predictor", builtin.runtimes(images.installed()))
    if isinstance(planned, template.Refusal):
        return planned.message
    try:
        for source in planned.sources:
            fetch.check_uri(source.uri)
    except Error as error:
        return error.message
    return None


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
