"""Objects as a `Table` of `meta.k8s.io/v1`: what `kubectl get` prints. Columns and cells are the kinds' own."""

from __future__ import annotations

from datetime import datetime

from colonnade.control.api.media import partial
from colonnade.control.objects import Object, Objects
from colonnade.errors import InvalidInput
from colonnade.resources.columns import cells
from colonnade.resources.kinds import Kind


def table(kind: Kind, items: Objects, metadata: Object, now: datetime, include: str | None) -> Object:
    """The table. `include` says what each row carries of its object: None, Metadata (the default) or Object."""
    if include not in (None, "", "None", "Metadata", "Object"):
        raise InvalidInput(f"includeObject: {include[:40]!r} is not one of None, Metadata, Object")
    rows = []
    for item in items:
        row: Object = {"cells": cells(kind, item, now)}
        if include != "None":
            row["object"] = item if include == "Object" else partial(item)
        rows.append(row)
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in kind.columns
    ]
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**head, "columnDefinitions": definitions, "rows": rows}
