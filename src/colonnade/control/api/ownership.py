"""Who set which field: `metadata.managedFields`, and the merge of server-side apply that is decided by it.

Pure functions. A field set is a set of paths to leaves (scalars, lists, empty maps); on the wire it is `FieldsV1`
(`{"f:spec": {"f:predictor": …}}`). Lists are atomic, which is what Kubernetes does with lists of custom resources
that declare no list type. Source: Kubernetes, "Server-Side Apply".
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from colonnade.control.api.patches import same
from colonnade.control.objects import Object, metadata_of
from colonnade.errors import Conflict

Path = tuple[str, ...]
Fields = frozenset[Path]

_NOT_OWNED = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "selfLink",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    }
)


class Owner(NamedTuple):
    """One entry of managedFields."""

    manager: str
    operation: str  # Apply or Update
    version: str  # apiVersion
    subresource: str
    time: str
    fields: Fields

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two entries one."""
        return self.manager, self.operation, self.version, self.subresource


class FieldConflict(Conflict):
    """Another manager owns fields that this apply changes. `causes` are (field, message) pairs."""

    def __init__(self, causes: tuple[tuple[str, str], ...]) -> None:
        count = len(causes)
        what = "\n".join(f"- {field}" for field, _ in causes)
        who = sorted({message for _, message in causes})
        super().__init__(
            f"Apply failed with {count} conflict{'s' if count != 1 else ''}: {'; '.join(who)}:\n{what}"
            "\nApply with force=true (kubectl: --force-conflicts) to take them over"
        )
        self.causes = causes


def fields_of(obj: Object) -> Fields:
    """The fields that an object sets, without those that only the server sets."""
    found: set[Path] = set()
    for key, value in obj.items():
        if key in ("apiVersion", "kind"):
            continue
        if key == "metadata":
            for name, inner in metadata_of(obj).items():
                if name not in _NOT_OWNED:
                    _leaves(inner, ("metadata", name), found)
        else:
            _leaves(value, (key,), found)
    return frozenset(found)


def _leaves(value: Any, path: Path, found: set[Path]) -> None:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            _leaves(inner, (*path, key), found)
    else:
        found.add(path)


def encode(fields: Iterable[Path]) -> Object:
    """FieldsV1; a path that is also the beginning of another one is written as `"."` below itself."""
    tree: Object = {}
    paths = sorted(fields)
    for path in paths:
        node = tree
        for part in path:
            node = node.setdefault(f"f:{part}", {})
    for path, following in pairwise(paths):
        if following[: len(path)] == path:
            node = tree
            for part in path:
                node = node[f"f:{part}"]
            node["."] = {}
    return tree


def decode(tree: Any) -> Fields:
    """The paths of a FieldsV1. Items of lists (`k:`, `v:`, `i:`) count as the list, lists being atomic here."""
    found: set[Path] = set()

    def walk(node: Any, path: Path) -> None:
        children = [key for key in node if key.startswith("f:")] if isinstance(node, dict) else []
        for key in children:
            walk(node[key], (*path, key[2:]))
        if path and (not children or "." in node):
            found.add(path)

    walk(tree, ())
    return frozenset(found)


def owners_of(obj: Object) -> list[Owner]:
    """managedFields as far as it is well-formed; entries that are not are dropped, as they own nothing."""
    entries = metadata_of(obj).get("managedFields")
    return [
        Owner(
            entry["manager"],
            str(entry.get("operation") or ""),
            str(entry.get("apiVersion") or ""),
            str(entry.get("subresource") or ""),
            str(entry.get("time") or ""),
            decode(entry["fieldsV1"]),
        )
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("manager"), str) and isinstance(entry.get("fieldsV1"), dict)
    ]


def with_owners(obj: Object, owners: Iterable[Owner]) -> Object:
    """The object with this managedFields; entries that own nothing are left out."""
    entries = [
        {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owner.version,
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": encode(owner.fields),
            **({"subresource": owner.subresource} if owner.subresource else {}),
        }
        for owner in owners
        if owner.fields
    ]
    metadata = {key: value for key, value in metadata_of(obj).items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def updated(live: Object | None, obj: Object, manager: str, time: str, subresource: str = "") -> Object:
    """`obj` with the fields that it changes against `live` given to `manager` (operation Update).

    If `obj` brings another managedFields than `live`, that one counts, as clients use it to migrate ownership.
    """
    before = live or {}
    present = fields_of(obj)
    changed = frozenset(
        path for path in present if not _has(before, path) or not same(_at(before, path), _at(obj, path))
    )
    me = Owner(manager, "Update", str(obj.get("apiVersion", "")), subresource, time, changed)
    kept = []
    for owner in owners_of(obj if "managedFields" in metadata_of(obj) else before):
        if owner.key == me.key:
            mine = (owner.fields & present) | changed
            me = me._replace(fields=mine, time=time if changed or mine != owner.fields else owner.time)
        else:
            kept.append(owner._replace(fields=(owner.fields & present) - changed))
    return with_owners(obj, [*kept, me])


def applied(live: Object, obj: Object, manager: str, time: str, *, force: bool) -> Object:
    """Server-side apply of `obj` onto `live` (`{}` if there is none yet).

    Fields that the manager applied before and now leaves out are removed, unless another manager owns them too.
    Raises FieldConflict if `obj` changes fields of others, unless `force` takes them over.
    """
    wanted = fields_of(obj)
    me = Owner(manager, "Apply", str(obj.get("apiVersion", "")), "", time, wanted)
    others = []
    before: Fields = frozenset()
    for owner in owners_of(live):
        if owner.key == me.key:
            before = owner.fields
            if owner.fields == wanted:
                me = me._replace(time=owner.time)
        else:
            others.append(owner)
    changing = [path for path in wanted if not _has(live, path) or not _agree(_at(live, path), _at(obj, path))]
    contested = [
        (position, held)
        for position, owner in enumerate(others)
        for index in [_Index(owner.fields)]
        for path in changing
        for held in index.overlapping(path)
    ]
    if contested and not force:
        raise FieldConflict(tuple(sorted({_cause(others[position], held) for position, held in contested})))
    for position, held in contested:
        others[position] = others[position]._replace(fields=others[position].fields - {held})
    result = copy.deepcopy(live)
    said = frozenset(path for path in wanted if _at(obj, path) != {})  # `{}` asks for a map and for nothing in it
    kept = _Index(said.union(*(owner.fields for owner in others)))
    for path in before - wanted:
        if not any(kept.overlapping(path)):
            _drop(result, path)
    for path in wanted:
        _set(result, path, _at(obj, path))
    result |= {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    present = fields_of(result)
    return with_owners(result, [*(owner._replace(fields=owner.fields & present) for owner in others), me])


def handed_over(obj: Object, giver: str, taker: str, under: str) -> Object:
    """`obj` with the fields below the top-level field `under` that `giver` updated given to `taker`, who applies.

    As it is where `taker` applies nothing. So a tool that changes a field for its user does not contest it the next
    time that the user applies a manifest.
    """
    owners = owners_of(obj)
    given: Fields = frozenset(
        path for owner in owners if (owner.manager, owner.operation) == (giver, "Update") for path in owner.fields
    )
    given = frozenset(path for path in given if path[0] == under)
    takes = [owner for owner in owners if (owner.manager, owner.operation) == (taker, "Apply")]
    if not given or not takes:
        return obj
    changed = (
        owner._replace(fields=owner.fields | given if owner in takes[:1] else owner.fields - given) for owner in owners
    )
    return with_owners(obj, changed)


def settled(live: Object, obj: Object) -> Object:
    """`obj` with the managedFields of `live` if only times differ: a time alone is no reason for a new version."""
    old, new = owners_of(live), owners_of(obj)
    if {(owner.key, owner.fields) for owner in old} != {(owner.key, owner.fields) for owner in new}:
        return obj
    return with_owners(obj, old)


class _Index:
    """Finds the fields that overlap a path without going through all of them."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._inner = {path[:length] for path in fields for length in range(1, len(path))}

    def overlapping(self, path: Path) -> Iterator[Path]:
        """The fields that name the same value as `path`, a whole that it is a part of, or a part of it."""
        for length in range(1, len(path) + 1):
            if path[:length] in self._fields:
                yield path[:length]
        if path in self._inner:
            yield from (field for field in self._fields if len(field) > len(path) and field[: len(path)] == path)


def _cause(owner: Owner, field: Path) -> tuple[str, str]:
    using = "" if owner.operation == "Apply" else f" using {owner.version}"
    return "".join(f".{part}" for part in field), f'conflict with "{owner.manager}"{using}'


def _agree(live: Any, wanted: Any) -> bool:
    """Whether a field is already as it is applied; `{}` asks for a map, whatever others have in it."""
    return (wanted == {} and isinstance(live, dict)) or same(live, wanted)


def _has(obj: Any, path: Path) -> bool:
    for part in path:
        if not isinstance(obj, dict) or part not in obj:
            return False
        obj = obj[part]
    return True


def _at(obj: Any, path: Path) -> Any:
    for part in path:
        obj = obj[part]
    return obj


def _set(obj: Object, path: Path, value: Any) -> None:
    for part in path[:-1]:
        inner = obj.get(part)
        if not isinstance(inner, dict):
            inner = obj[part] = {}
        obj = inner
    if not (value == {} and isinstance(obj.get(path[-1]), dict)):  # `{}` asks for a map, not for an empty one
        obj[path[-1]] = copy.deepcopy(value)


def _drop(obj: Object, path: Path) -> None:
    """Removes a field and the maps that it leaves empty, but not `metadata`."""
    if not _has(obj, path):
        return
    chain = [obj]
    for part in path[:-1]:
        chain.append(chain[-1][part])
    for length in range(len(path), 0, -1):
        del chain[length - 1][path[length - 1]]
        if chain[length - 1] or path[: length - 1] in ((), ("metadata",)):
            return
