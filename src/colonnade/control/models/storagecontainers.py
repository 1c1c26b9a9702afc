"""Which ClusterStorageContainer fetches a URI, and the command that it stands for.

The choice is pure and KServe's: one that the component names, else the first, by name, that takes the URI. None is no
fault: then the platform's own providers fetch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from colonnade.control.templates import replica
from colonnade.control.templates.replica import Lookup
from colonnade.errors import LoadFailed
from colonnade.resources.served import image_name
from colonnade.resources.storagecontainer import BUILT_IN_IMAGE, INIT_CONTAINER
from colonnade.storage.initializer import Initializer


def choose(uri: str, wanted: str, stored: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The stored object that fetches a URI, or None.

    Args:
        uri: what is to be fetched.
        wanted: the name that `storageContainerName` gives, or "".
        stored: all ClusterStorageContainers.

    Raises:
        LoadFailed: the one that is wanted does not exist, is disabled, or is for another work.
    """
    if wanted:
        found = next((each for each in stored if each["metadata"]["name"] == wanted), None)
        if found is None or found.get("disabled") or _workload(found) != INIT_CONTAINER:
            why = "not found" if found is None else "disabled" if found.get("disabled") else f"for {_workload(found)}s"
            raise LoadFailed(f'clusterstoragecontainers "{wanted}" is {why}; correct storageContainerName')
        return found
    usable = (each for each in stored if not each.get("disabled") and _workload(each) == INIT_CONTAINER)
    return next(
        (each for each in sorted(usable, key=lambda each: str(each["metadata"]["name"])) if takes(each, uri)), None
    )


def takes(stored: Mapping[str, Any], uri: str) -> bool:
    """Whether one of its formats fits a URI: a prefix, or a pattern found anywhere in it."""
    for entry in stored["spec"].get("supportedUriFormats") or []:
        if entry.get("prefix"):
            if uri.startswith(entry["prefix"]):
                return True
        elif entry.get("regex") and re.search(entry["regex"], uri):
            return True
    return False


def initializer(stored: Mapping[str, Any], namespace: str, lookup: Lookup) -> Initializer | None:
    """The command of a ClusterStorageContainer; None for KServe's own image, whose work the platform does itself.

    `lookup` reads Secrets and ConfigMaps of the service's namespace.

    Raises:
        LoadFailed: there is only an image, or a variable refers to what does not exist.
    """
    name, container = stored["metadata"]["name"], stored["spec"]["container"]
    if not container.get("command"):
        if image_name(container.get("image") or "") == BUILT_IN_IMAGE:
            return None
        raise LoadFailed(
            f"the ClusterStorageContainer {name} has no command, and images are not run here; "
            "give spec.container.command"
        )
    pod = {"metadata": {"name": name, "namespace": namespace}}
    try:
        env = replica.environment(pod, container, {}, lookup)
    except replica.Misconfigured as error:
        raise LoadFailed(f"the ClusterStorageContainer {name}: {error}") from error
    words = (*container["command"], *(container.get("args") or ()))
    return Initializer(name, tuple(replica.expand(str(word), env) for word in words), env)


def _workload(stored: Mapping[str, Any]) -> str:
    return str(stored["spec"].get("workloadType") or INIT_CONTAINER)
