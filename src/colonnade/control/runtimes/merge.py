"""What a runtime's container becomes for one service: merged with the manifest's, placeholders filled in. Pure.

The merge is Kubernetes' strategic merge, as KServe's `MergeRuntimeContainers` applies it: maps field by field, lists of
named things by their name, all other lists replaced, except `args`, where the manifest's follow the runtime's.
Placeholders name fields of a service's metadata in the syntax of Go's templates, which KServe runs over the container.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# The field by which items of a list are the same thing: `patchMergeKey` in the Kubernetes core API.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
_PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.(Name|Namespace|UID|(?:Labels|Annotations)\.\w+)")
_INDEXED = re.compile(r"index\s+\.(Labels|Annotations)\s+\"([^\"]*)\"")
_TAG = re.compile(r":[\w.\-]*$")


class UnknownPlaceholder(ValueError):
    """A placeholder that no field of a service's metadata fills in."""


def containers(runtime: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A runtime's container with a manifest's over it."""
    merged = strategic(runtime, own)
    args = [*(runtime.get("args") or ()), *(own.get("args") or ())]
    return {**merged, "args": args} if args else merged


def strategic(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` merged into `base`; neither is changed. A null in `over` takes the field away."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(below, Mapping):
            result[name] = strategic(below, value)
        elif isinstance(value, list) and isinstance(below, list) and name in _MERGE_KEYS:
            result[name] = _by_key(below, value, _MERGE_KEYS[name])
        else:
            result[name] = value
    return result


def _by_key(base: list[Any], over: list[Any], key: str) -> list[Any]:
    """Items of the same key are merged in place, new ones follow."""
    merged = list(base)
    places = {item[key]: place for place, item in enumerate(base) if isinstance(item, Mapping) and key in item}
    for item in over:
        place = places.get(item.get(key)) if isinstance(item, Mapping) else None
        if place is None:
            merged.append(item)
        else:
            merged[place] = strategic(merged[place], item)
    return merged


def filled(value: Any, metadata: Mapping[str, Any]) -> Any:
    """`value` with the placeholders in its texts replaced by a service's metadata; a missing label is "".

    Raises:
        UnknownPlaceholder: one means something else.
    """
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _field(match.group(1), metadata), value)
    if isinstance(value, Mapping):
        return {name: filled(below, metadata) for name, below in value.items()}
    if isinstance(value, list):
        return [filled(item, metadata) for item in value]
    return value


def _field(text: str, metadata: Mapping[str, Any]) -> str:
    if found := _INDEXED.fullmatch(text):
        return str((metadata.get(found.group(1).lower()) or {}).get(found.group(2), ""))
    if not _FIELD.fullmatch(text):
        raise UnknownPlaceholder(
            f"{{{{{text}}}}} is no placeholder of a runtime; there are {{{{.Name}}}}, {{{{.Namespace}}}}, "
            "{{.Labels.x}} and {{.Annotations.x}}"
        )
    field, _, name = text.removeprefix(".").partition(".")
    value = metadata.get(field.lower())
    return str((value or {}).get(name, "")) if name else str(value or "")


def tagged(image: str, version: str) -> str:
    """An image with another tag (`runtimeVersion`); one that is pinned by its digest stays as it is."""
    if "@sha256:" in image:
        return image
    return f"{_TAG.sub('', image)}:{version}"
