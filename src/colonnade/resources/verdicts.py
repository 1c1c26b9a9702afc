"""What becomes of each field of a manifest: `colonnade check`.

Every leaf of an object gets exactly one verdict: it runs, it is emulated (and how), it needs a cluster (and why), or it
is unknown (and what was probably meant). Verdicts are declared beside the fields; this module only walks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from colonnade.resources import manifest
from colonnade.resources.fields import CLUSTER_ONLY, NOT_RUN, RUNS, UNKNOWN, Ruling, Verdict
from colonnade.resources.inferenceservice import API_VERSION, GROUP, KIND, RETIRED
from colonnade.resources.kinds import NOT_SERVED, by_kind
from colonnade.resources.shape import Entries, Listing, Property, Record, Shape, join, mismatch, shape_of
from colonnade.resources.strict import suggestion

HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """The verdict on one field.

    Attributes:
        path: `spec.predictor.model.storageUri`; empty for the whole document.
        value: the JSON value; `HIDDEN` for secrets.
        verdict: what this version does with it.
        note: how, why not, or what was probably meant; may be empty.
    """

    path: str
    value: Any
    verdict: Verdict
    note: str


@dataclass(frozen=True, slots=True)
class DocumentVerdicts:
    """The verdicts on one document of a file, or on why it cannot be read (then `object` is None)."""

    source: str
    index: int
    line: int
    object: dict[str, Any] | None
    fields: list[FieldVerdict]


def check(obj: Mapping[str, Any]) -> list[FieldVerdict]:
    """The verdict on each field of an object, in the object's order."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    served = by_kind(api_version, kind)
    if served is not None:
        return list(_walk(obj, shape_of(served.struct), "", None))
    group = api_version.rpartition("/")[0] if isinstance(api_version, str) else ""
    if group == GROUP and isinstance(kind, str) and kind in NOT_SERVED:
        note = f"{kind} is {NOT_RUN}"
        struct = NOT_SERVED[kind]
        if struct is None:
            return [FieldVerdict("kind", kind, CLUSTER_ONLY, note)]
        return list(_walk(obj, shape_of(struct), "", Ruling(CLUSTER_ONLY, note)))
    if not isinstance(kind, str) or not isinstance(api_version, str):
        missing = "kind" if not isinstance(kind, str) else "apiVersion"
        return [FieldVerdict(missing, obj.get(missing), UNKNOWN, f"every object names its {missing}, as text")]
    if group == GROUP:
        path, value = ("apiVersion", api_version) if kind == KIND else ("kind", kind)
        return [FieldVerdict(path, value, UNKNOWN, _unknown_kind(api_version, kind))]
    note = f"kind {kind} of group {group or 'core'} is not served here"
    return [FieldVerdict("kind", kind, CLUSTER_ONLY, note)]


def _unknown_kind(api_version: str, kind: str) -> str:
    if kind == KIND:
        return f"{KIND} is served as {API_VERSION}, not as {api_version}"
    return f"{GROUP} has no kind {kind}{suggestion(kind, [KIND, *NOT_SERVED])}"


def check_text(text: str, source: str) -> list[DocumentVerdicts]:
    """The verdicts on each document of a file; one that cannot be read gets one that says where and why."""
    found: list[DocumentVerdicts] = []
    for document in manifest.documents(text, source):
        if isinstance(document, manifest.Unreadable):
            line = FieldVerdict("", None, UNKNOWN, document.message)
            found.append(DocumentVerdicts(source, document.index, document.line, None, [line]))
        else:
            fields = check(document.object)
            found.append(DocumentVerdicts(source, document.index, document.line, document.object, fields))
    return found


def _walk(value: Any, shape: Shape, path: str, ruling: Ruling | None, hidden: bool = False) -> Iterator[FieldVerdict]:
    if value is None or value in ({}, []):
        yield _leaf(path, value, ruling, hidden)
        return
    reason = mismatch(value, shape)
    if reason is not None:
        yield FieldVerdict(path, HIDDEN if hidden else value, UNKNOWN, reason)
        return
    match shape:
        case Record():
            for name, below in value.items():
                field = shape.properties.get(name)
                if field is None:
                    note = RETIRED.get(name) or f"no such field{suggestion(name, shape.properties)}"
                    yield FieldVerdict(join(path, name), below, UNKNOWN, note)
                else:
                    yield from _field(below, field, value, join(path, name), ruling)
        case Listing():
            for index, below in enumerate(value):
                yield from _walk(below, shape.item, f"{path}[{index}]", ruling, hidden)
        case Entries():
            for name, below in value.items():
                yield from _walk(below, shape.value, join(path, name), ruling, hidden)
        case _:
            yield from _leaves(value, path, ruling, hidden)


def _field(
    value: Any, field: Property, holder: Mapping[str, Any], path: str, above: Ruling | None
) -> Iterator[FieldVerdict]:
    if above is not None and above.verdict == CLUSTER_ONLY:  # what holds the field does not run, so it does not either
        yield from _walk(value, field.shape, path, above, field.hidden)
    elif field.rule is None or value is None or mismatch(value, field.shape) is not None:
        yield from _walk(value, field.shape, path, field.ruling or above, field.hidden)
    elif isinstance(field.shape, Listing):
        for index, item in enumerate(value):
            held = holder if isinstance(item, dict) else {**holder, "index": index}
            yield from _walk(item, field.shape.item, f"{path}[{index}]", field.rule(item, held), field.hidden)
    elif isinstance(field.shape, Entries):
        for name, item in value.items():
            yield from _walk(item, field.shape.value, join(path, name), field.rule(item, {"key": name}), field.hidden)
    else:
        yield from _walk(value, field.shape, path, field.rule(value, holder) or above, field.hidden)


def _leaves(value: Any, path: str, ruling: Ruling | None, hidden: bool) -> Iterator[FieldVerdict]:
    waiting = [(path, value)]  # no recursion: a free-form part may be nested to any depth
    while waiting:
        where, part = waiting.pop()
        if isinstance(part, dict) and part:
            waiting.extend(reversed([(join(where, name), below) for name, below in part.items()]))
        elif isinstance(part, list) and part:
            waiting.extend(reversed([(f"{where}[{index}]", below) for index, below in enumerate(part)]))
        else:
            yield _leaf(where, part, ruling, hidden)


def _leaf(path: str, value: Any, ruling: Ruling | None, hidden: bool) -> FieldVerdict:
    verdict, note = ruling or Ruling(RUNS)
    return FieldVerdict(path, HIDDEN if hidden else value, verdict, note)
