"""The three patch forms as pure functions from (object, patch) to object; the object given is not changed.

* JSON merge patch (RFC 7396), for every kind.
* JSON patch (RFC 6902), for every kind.
* Strategic merge patch, for core kinds only, as in Kubernetes custom resources have none. Of it, maps merge and carry
  the directives `$patch` and `$retainKeys`; lists are replaced: no list of the core kinds that can be written here
  has a merge key.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from colonnade.errors import Invalid, InvalidInput

MAX_OPERATIONS = 10_000  # Kubernetes' own limit for JSON patches
MAX_PATCHED_BYTES = 3 << 20  # `copy` can double an object with each operation


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, maps merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic(target: Any, patch: Any) -> Any:
    """A merge with the directives that `kubectl` writes for maps."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    if directive not in (None, "merge", "replace"):
        raise InvalidInput(f"unknown $patch directive {str(directive)[:40]!r}: use merge, replace or delete")
    merged = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
            merged.pop(key, None)
        else:
            merged[key] = strategic(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902. Raises InvalidInput on a malformed patch, Invalid on one that does not fit the object."""
    if not isinstance(operations, list):
        raise InvalidInput("a JSON patch must be a list of operations (RFC 6902)")
    if len(operations) > MAX_OPERATIONS:
        raise InvalidInput(f"a JSON patch may have at most {MAX_OPERATIONS} operations, this one has {len(operations)}")
    document = copy.deepcopy(target)
    grown = False
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict):
            raise InvalidInput(f"operation {number} of the JSON patch must be an object")
        document = _applied(document, operation, number)
        grown = grown or operation.get("op") == "copy"
        if grown and len(msgspec.json.encode(document)) > MAX_PATCHED_BYTES:
            raise Invalid(
                f"operation {number} of the JSON patch makes the object larger than {MAX_PATCHED_BYTES} bytes"
            )
    return document


def _applied(document: Any, operation: dict[str, Any], number: int) -> Any:
    op = operation.get("op")
    where = f"operation {number} of the JSON patch ({str(op)[:20]} {str(operation.get('path'))[:200]})"
    path = _pointer(operation.get("path"), where)
    if op in ("add", "replace", "test") and "value" not in operation:
        raise InvalidInput(f"{where} needs a value")
    match op:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]), where)
        case "remove":
            return _remove(document, path, where)
        case "replace":
            _find(document, path, where)
            return _put(document, path, copy.deepcopy(operation["value"]), where)
        case "test":
            if not same(_find(document, path, where), operation["value"]):
                raise Invalid(f"{where}: testing value failed")
            return document
        case "move" | "copy":
            source = _pointer(operation.get("from"), where)
            value = copy.deepcopy(_find(document, source, where))
            if op == "move":
                if path[: len(source)] == source and len(path) > len(source):
                    raise Invalid(f"{where}: a value cannot be moved into itself")
                document = _remove(document, source, where)
            return _add(document, path, value, where)
    raise InvalidInput(f"{where}: op must be one of add, remove, replace, move, copy, test")


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values; Python's would take `true` for 1."""
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def _pointer(text: Any, where: str) -> tuple[str, ...]:
    """RFC 6901."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise InvalidInput(f'{where}: a pointer must be "" or begin with "/"')
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _find(document: Any, path: tuple[str, ...], where: str) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1, where)]
        else:
            raise Invalid(f"{where}: there is no {part[:80]!r} on that path")
    return document


def _index(part: str, last: int, where: str) -> int:
    if (
        not (part.isascii() and part.isdigit() and len(part) < 10 and (part == "0" or part[0] != "0"))
        or int(part) > last
    ):
        raise Invalid(f"{where}: {part[:80]!r} is not an index of the list, which ends at {last}")
    return int(part)


def _add(document: Any, path: tuple[str, ...], value: Any, where: str) -> Any:
    if not path:
        return value
    parent = _find(document, path[:-1], where)
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent), where), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise Invalid(f"{where}: the parent is neither an object nor a list")
    return document


def _put(document: Any, path: tuple[str, ...], value: Any, where: str) -> Any:
    if not path:
        return value
    parent = _find(document, path[:-1], where)
    parent[_index(path[-1], len(parent) - 1, where) if isinstance(parent, list) else path[-1]] = value
    return document


def _remove(document: Any, path: tuple[str, ...], where: str) -> Any:
    if not path:
        return None
    _find(document, path, where)
    parent = _find(document, path[:-1], where)
    del parent[_index(path[-1], len(parent) - 1, where) if isinstance(parent, list) else path[-1]]
    return document
