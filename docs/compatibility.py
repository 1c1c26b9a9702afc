"""The page that says of each of KServe's sample manifests what becomes of it here.

Each document of a sample gets one outcome, decided by the same code that `colonnade check` asks: it runs as it is, it
is emulated (then the fields that are met in another way are named), or it is refused (then the field and the reason).
The samples lie in a checkout beside this repository; without one the page cannot be written or compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from colonnade.cli import refusals
from colonnade.resources import kinds
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, RUNS, UNKNOWN, Ruling
from colonnade.resources.inferenceservice import GROUP
from colonnade.resources.kinds import by_kind
from colonnade.resources.shape import Entries, Listing, Record, Shape, shape_of
from colonnade.resources.verdicts import DocumentVerdicts, FieldVerdict, check_text
from colonnade.runtimes import images

KSERVE = Path(__file__).parents[2] / "shared" / "kserve"
PARTS = ("samples", "runtimes")
NOTED = 3  # notes on fields that one row gives; `check` gives all
REFUSED = "refused"
WITH = "with its server"
_ARGUMENT = re.compile(r"\.args\[\d+\]$")
_INDEX = re.compile(r"\[\d+\]")


class Outcome(NamedTuple):
    """What becomes of one document.

    Attributes:
        verdict: `runs`, `emulated`, `with its server` (runs where a model server's program is installed) or `refused`.
        field: the field that decided, or the first ones.
        reason: how, or why not.
    """

    verdict: str
    field: str = ""
    reason: str = ""


def page() -> str:
    """The whole page."""
    rows: dict[str, list[str]] = {part: [] for part in PARTS}
    counts: Counter[str] = Counter()
    for part in PARTS:
        for file in sorted((KSERVE / part).glob("*.yaml")):
            for document in check_text(file.read_text(), file.name):
                obj = document.object or {}
                found = outcome(document)
                counts[found.verdict] += part == "samples" and _served_group(obj)
                cells = (file.name, _title(obj), found.verdict, f"`{found.field}`" * bool(found.field), found.reason)
                rows[part].append("| " + " | ".join(_cell(each) for each in cells) + " |")
    heading = ("| file | object | outcome | field | how, or why not |", "|---|---|---|---|---|")
    lines = [
        *_introduction(counts),
        "## Samples",
        "",
        *heading,
        *rows["samples"],
        "",
        "## Serving runtimes",
        "",
        "The runtimes that KServe installs are here from the start; these are its manifests, applied.",
        "",
        *heading,
        *rows["runtimes"],
        "",
        *_kinds(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def outcome(document: DocumentVerdicts) -> Outcome:
    """What becomes of one document of a file."""
    obj = document.object
    if obj is None:
        return Outcome(REFUSED, "(document)", document.fields[0].note)
    if by_kind(obj.get("apiVersion"), obj.get("kind")) is None:
        (first, *_) = document.fields
        return Outcome(REFUSED, first.path, first.note)
    invalid = refusals.invalid(obj)
    if invalid is not None:
        retired = next((each for each in document.fields if each.verdict == UNKNOWN), None)
        return Outcome(
            REFUSED, invalid.field, invalid.message + (f"; {retired.path}: {retired.note}" if retired else "")
        )
    strange = next((each for each in document.fields if _stops(each)), None)
    if strange is not None:
        return Outcome(REFUSED, strange.path, strange.note)
    refused = refusals.refused(obj, ())
    if refused is not None:
        helped = refusals.refused(obj, _programs()) is None
        return Outcome(WITH if helped else REFUSED, refused.field, refused.message)
    return _of_fields(document.fields)


def _stops(field: FieldVerdict) -> bool:
    """Whether a replica does not start with a field: an argument that its server has not got."""
    return field.verdict in (UNKNOWN, CLUSTER_ONLY) and bool(_ARGUMENT.search(field.path))


def _of_fields(fields: list[FieldVerdict]) -> Outcome:
    """The outcome of what runs: with or without fields that are met in another way or have no effect."""
    told = [each for each in fields if each.verdict != RUNS]
    if not told:
        return Outcome(RUNS)
    notes: dict[str, list[str]] = {}
    for each in told:
        paths = notes.setdefault(each.note, [])
        path = _INDEX.sub("[]", each.path)
        if path not in paths:
            paths.append(path)
    first = list(notes.items())[:NOTED]
    more = f"; and {len(notes) - NOTED} more notes" if len(notes) > NOTED else ""
    return Outcome(EMULATED, first[0][1][0], "; ".join(f"{_brief(paths)}: {note}" for note, paths in first) + more)


def _brief(paths: list[str]) -> str:
    last = paths[0].rpartition(".")[2] if "/" not in paths[0] else paths[0].rpartition("[")[2].rstrip("]")
    return f"{last} and {len(paths) - 1} more" if len(paths) > 1 else last


def _programs() -> frozenset[str]:
    """All model servers that could be installed."""
    return frozenset(image.program for image in images.IMAGES.values() if image.program)


def _served_group(obj: dict[str, Any]) -> bool:
    return str(obj.get("apiVersion", "")).startswith(f"{GROUP}/")


def _title(obj: dict[str, Any]) -> str:
    metadata = obj.get("metadata") or {}
    return f"{obj.get('kind')} {metadata.get('name') or metadata.get('generateName') or ''}" if obj else "(unreadable)"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _introduction(counts: Counter[str]) -> Iterator[str]:
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in (RUNS, EMULATED, WITH, REFUSED))
    yield from (
        "# Compatibility with KServe",
        "",
        "Written by `docs/generate.py` from KServe's sample manifests, by the code that `colonnade check` and the API "
        "ask.",
        "",
        "| outcome | meaning |",
        "|---|---|",
        "| runs | every field does what it does in KServe |",
        "| emulated | it serves; the fields that are named are met in another way, or are kept without effect here |",
        "| with its server | it serves on a machine that has the program of the model server that is named |",
        "| refused | it does not serve here; the field that is named decides, and the reason says what to change |",
        "",
        "Nothing was installed beside Colonnade. Whether a remote model can be fetched is not part of the outcome: an "
        "air-gapped machine has `colonnade up --mirror`.",
        "",
        f"Of the samples that are of KServe's own group (`{GROUP}`): {said}.",
        "",
    )


def _kinds() -> Iterator[str]:
    """How many fields of each kind are ruled in which way."""
    yield from (
        "## Fields",
        "",
        "What is declared of the fields of each kind; [Manifests](manifests.md) has them one by one. "
        "A field whose value decides counts as `by value`.",
        "",
        "| kind | runs | emulated | cluster-only | by value |",
        "|---|---|---|---|---|",
    )
    for kind in kinds.KINDS:
        if kind.group != GROUP:
            continue
        found = Counter(_rulings(shape_of(kind.struct), None))
        counts = " | ".join(str(found[verdict]) for verdict in (RUNS, EMULATED, CLUSTER_ONLY, "by value"))
        yield f"| {kind.kind} ({kind.version}) | {counts} |"
    for name in kinds.NOT_SERVED:
        yield f"| {name} | not served: an object of it is refused | | | |"


def _rulings(shape: Shape, above: Ruling | None) -> Iterator[str]:
    """The verdict on each leaf; what a field says holds for all below it that say nothing."""
    match shape:
        case Record():
            for name, field in shape.properties.items():
                if name != "status":
                    ruling = field.ruling or above
                    if field.rule is not None:
                        yield "by value"
                    else:
                        yield from _rulings(field.shape, ruling)
        case Listing():
            yield from _rulings(shape.item, above)
        case Entries():
            yield from _rulings(shape.value, above)
        case _:
            yield above.verdict if above is not None else "by value"
