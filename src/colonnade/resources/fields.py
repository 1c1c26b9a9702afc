"""How a field is declared: its type, its description and what this version does with it, in one place.

`Annotated[int | None, field_doc("Least number of replicas.", RUNS)]` is read by four readers: msgspec parses by it,
`schema` publishes it, strict validation knows the field's name from it, and `verdicts` tells the user what becomes of
it. A field that is declared once cannot be documented as running and be ignored in silence elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

Verdict = Literal["runs", "emulated", "cluster-only", "unknown"]

RUNS: Verdict = "runs"
EMULATED: Verdict = "emulated"
CLUSTER_ONLY: Verdict = "cluster-only"
UNKNOWN: Verdict = "unknown"

NOT_RUN = "not run by this version"
ONE_MACHINE = "placement needs a cluster; everything here runs on one machine"
NO_CONTAINER = "replicas are local processes, not containers"


class Ruling(NamedTuple):
    """What this version does with a value, and how or why."""

    verdict: Verdict
    note: str = ""


Rule = Callable[[Any, Mapping[str, Any]], Ruling | None]
"""Rules on a field's value and the object that holds the field; None leaves the ruling to the fields below.

On a list it is asked for each item; of plain values it is told the place, `rule(value, {**holder, "index": index})`. On
a plain map it is asked for each entry: `rule(value, {"key": key})`.
"""


class Declaration(NamedTuple):
    """The part of a field's declaration that msgspec carries but does not read."""

    ruling: Ruling | None
    rule: Rule | None
    hidden: bool


class Resource(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of all typed views: camelCase on the wire, unknown fields are passed over (`schema` reports them)."""


def field_doc(
    description: str,
    verdict: Verdict | None = None,
    note: str = "",
    *,
    rule: Rule | None = None,
    hidden: bool = False,
    schema: dict[str, Any] | None = None,
) -> msgspec.Meta:
    """Declare a field.

    Args:
        description: what `kubectl explain` shows.
        verdict: what this version does with the field; None if the fields below it say it.
        note: how (emulated) or why not (cluster-only).
        rule: decides by value where one verdict does not fit all.
        hidden: the value is a secret and is never shown.
        schema: further OpenAPI keywords.
    """
    ruling = None if verdict is None else Ruling(verdict, note)
    return msgspec.Meta(
        description=description,
        extra={"declaration": Declaration(ruling, rule, hidden)},
        extra_json_schema=schema,
    )
