"""What the API offers, as clients ask for it before all else: versions, groups, resources.

Two forms of the same facts: the aggregated one (`apidiscovery.k8s.io/v2`, one call for all; kubectl 1.30 and newer) and
the plain one (a call per group and version; older clients and the Python client).
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from colonnade.control.api import reviews
from colonnade.control.api.paths import UNKNOWN_PATH
from colonnade.control.objects import Object
from colonnade.errors import NotFound
from colonnade.resources.kinds import KINDS, Kind
from colonnade.version import __version__

KUBERNETES_MINOR = "32"  # the API that clients are told to expect
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_LISTED = [*KINDS, *reviews.KINDS]
_GROUPS = {
    group: sorted({kind.version for kind in kinds}, reverse=True)
    for group, kinds in groupby(sorted(_LISTED, key=lambda kind: kind.group), key=lambda kind: kind.group)
}
"""Versions of each group, the preferred one first; the core group is ""."""

_SUBRESOURCE_VERBS = {"status": ["get", "patch", "update"], "log": ["get"]}


def version() -> Object:
    """`/version`."""
    return {
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "gitVersion": f"v1.{KUBERNETES_MINOR}.0+colonnade-{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def wants_aggregated(accept: bytes) -> bool:
    """Whether the `Accept` header takes the aggregated form."""
    for clause in accept.decode("latin-1").split(","):
        options = {part.strip() for part in clause.split(";")}
        if {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= options:
            return True
    return False


def aggregated(core: bool) -> Object:
    """`/api` (core) or `/apis` in one document."""
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "resources": [_discovered(kind) for kind in _of(group, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }
        for group, versions in _GROUPS.items()
        if (group == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def api_versions() -> Object:
    """`/api`."""
    return {"kind": "APIVersions", "versions": _GROUPS[""], "serverAddressByClientCIDRs": []}


def groups() -> Object:
    """`/apis`."""
    listed = [_group(name) for name in _GROUPS if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str) -> Object:
    """`/apis/{group}`. Raises NotFound."""
    if not name or name not in _GROUPS:
        raise NotFound(UNKNOWN_PATH)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def resources(name: str, version: str) -> Object:
    """`/api/v1` or `/apis/{group}/{version}`. Raises NotFound."""
    kinds = _of(name, version)
    if not kinds:
        raise NotFound(UNKNOWN_PATH)
    listed: list[Any] = []
    for kind in kinds:
        entry: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": sorted(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        listed.append(entry)
        listed += [
            {
                "name": f"{kind.plural}/{sub}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": _SUBRESOURCE_VERBS[sub],
            }
            for sub in kind.subresources
        ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": listed,
    }


def _of(group: str, version: str) -> list[Kind]:
    return [kind for kind in _LISTED if (kind.group, kind.version) == (group, version)]


def _group(name: str) -> Object:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _GROUPS[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _discovered(kind: Kind) -> Object:
    response = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    found: Object = {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [
            {"subresource": sub, "responseKind": response, "verbs": _SUBRESOURCE_VERBS[sub]}
            for sub in kind.subresources
        ]
    return found
