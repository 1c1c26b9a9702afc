"""How answers are printed: tables and colour on a terminal, JSON, YAML or names for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import click
from rich.console import Console
from rich.text import Text

from colonnade.resources import manifest
from colonnade.resources.kinds import Kind

Form = Literal["table", "wide", "json", "yaml", "name"]
F = TypeVar("F", bound=Callable[..., Any])

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

GAP = 3
_GOOD = {"True", "Running", "Loaded", "UpToDate", "runs", "Normal"}
_BAD = {
    "False",
    "Failed",
    "CrashLoopBackOff",
    "FailedToLoad",
    "BlockedByFailedLoad",
    "InvalidSpec",
    "unknown",
    "Warning",
}


def document(value: Any, form: Form) -> None:
    """Prints a value as JSON or YAML."""
    click.echo(manifest.dump(value, "yaml" if form == "yaml" else "json").rstrip("\n"))


def name(kind: Kind, name: str) -> str:
    """`inferenceservice.serving.kserve.io/iris`, `pod/iris-1`: the form that kubectl prints and takes."""
    return f"{kind.singular}.{kind.group}/{name}" if kind.group else f"{kind.singular}/{name}"


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints columns as wide as their widest cell, as kubectl does; words that say good or bad are coloured."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (list(headings), *cells):
        line = Text()
        for word, width in zip(row, widths, strict=True):
            line.append_text(styled(word)).append(" " * (width - len(word) + GAP))
        line.rstrip()
        out.print(line, soft_wrap=True)


def styled(word: str) -> Text:
    """A word in the colour of what it says."""
    if word in _GOOD:
        return Text(word, style="green")
    if word in _BAD:
        return Text(word, style="red")
    return Text(word, style="yellow") if word == "cluster-only" else Text(word)


def form_option(*forms: Form, default: Form = "table") -> Callable[[F], F]:
    """The `-o` option with the forms a command can print."""
    return click.option(
        "-o", "--output", "form", type=click.Choice(forms), default=default, show_default=True, help="Output form."
    )
