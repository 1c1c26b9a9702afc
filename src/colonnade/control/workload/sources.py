"""What a component's manifest wants fetched, and where it is expected: from `storageUri`, `storageUris` or `storage`.

Pure. Nothing is looked up here: which Secret a `storage` block means, and what lies in it, is decided when the fetch
begins (`credentials`), so that a Secret that comes later is found.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from colonnade import defaults

MODEL_MOUNT = "/mnt/models"  # where KServe puts the artefact
ORIGIN = "colonnade.dev/model-origin"  # on pods and the status: what the model was taken from instead of its URI
SECRET_NAME = "serving.kserve.io/storageSecretName"  # noqa: S105 - the name of an annotation
PLACEHOLDER = "<scheme-placeholder>"  # KServe's scheme of a `storage` block's path until its secret names the type
_SAFETY = (defaults.TRUST_CODE, defaults.MODEL_DIGEST)
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # of a model server that fetches by itself on a cluster
PATTERN_VARIABLES = ("STORAGE_ALLOW_PATTERNS", "STORAGE_IGNORE_PATTERNS")


class Piece(NamedTuple):
    """One of several artefacts under a mount; `below` is a path relative to the mount, "" for the mount itself."""

    uri: str
    below: str = ""


class StorageBlock(NamedTuple):
    """The `storage` field: a key of the storage secret, a path, and parameters that win over the secret's."""

    key: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


class Source(NamedTuple):
    """What is fetched for one path of the container.

    Attributes:
        uri: the URI, or the first of several; for a `storage` block it starts with `PLACEHOLDER`.
        mount: the path at which the container expects it.
        pieces: all artefacts that are put together under the mount, if there are several.
        account: name of the service account whose secrets the fetch may use.
        secret: name of the storage secret that an annotation gives, or "".
        storage: the `storage` block, if that is how the source is given.
        container: the ClusterStorageContainer that `storageContainerName` asks for, or "".
        env: variables of the manifest that steer the fetch: allow and ignore patterns, and the hub's token.
        referred: of these, those that a Secret of the namespace has: variable, Secret and key.
        safety: annotations of the service that say what the artefact may be and do.
    """

    uri: str
    mount: str = MODEL_MOUNT
    pieces: tuple[Piece, ...] = ()
    account: str = "default"
    secret: str = ""
    storage: StorageBlock | None = None
    container: str = ""
    env: tuple[tuple[str, str], ...] = ()
    referred: tuple[tuple[str, str, str], ...] = ()
    safety: tuple[tuple[str, str], ...] = ()


def of(component: Mapping[str, Any], holder: Mapping[str, Any], annotations: Mapping[str, str]) -> tuple[Source, ...]:
    """The sources of a component.

    Args:
        component: the predictor, transformer or explainer.
        holder: its model, explainer or container: what has `storageUri`, `storage` or `STORAGE_URI`.
        annotations: those of the service.

    Raises:
        ValueError: the manifest contradicts itself; the text is for the user.
    """
    variables = {entry.get("name"): entry.get("value") for entry in holder.get("env") or []}
    common = Source(
        "",
        account=component.get("serviceAccountName") or "default",
        secret=annotations.get(SECRET_NAME, ""),
        container=component.get("storageContainerName") or "",
        env=tuple(
            (name, str(variables[name])) for name in (*PATTERN_VARIABLES, *TOKEN_VARIABLES) if variables.get(name)
        ),
        referred=tuple(_referred(holder)),
        safety=tuple((name, annotations[name]) for name in _SAFETY if name in annotations),
    )
    uri = holder.get("storageUri") or variables.get("STORAGE_URI")
    block = holder.get("storage")
    if block:
        return (_of_block(common, block, uri),)
    if uri:
        return (common._replace(uri=uri),)
    listed = component.get("storageUris") or []
    return (_of_list(common, listed),) if listed else ()


def _referred(holder: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The tokens that a container has from Secrets: what its server would fetch with, is fetched with here."""
    for entry in holder.get("env") or []:
        reference = (entry.get("valueFrom") or {}).get("secretKeyRef") or {}
        if entry.get("name") in TOKEN_VARIABLES and reference.get("name") and reference.get("key"):
            yield entry["name"], str(reference["name"]), str(reference["key"])


def _of_block(common: Source, block: Mapping[str, Any], uri: str | None) -> Source:
    """A `storage` block; a `storageUri` beside it says where, and the block with which credentials."""
    parameters = tuple(sorted((str(name), str(value)) for name, value in (block.get("parameters") or {}).items()))
    path = str(block.get("path") or "").lstrip("/")
    if not path and not uri:
        raise ValueError("storage.path is missing: name the model's path in the bucket or file system.")
    return common._replace(
        uri=uri or f"{PLACEHOLDER}://{path}", storage=StorageBlock(str(block.get("key") or ""), parameters)
    )


def _of_list(common: Source, listed: list[Mapping[str, Any]]) -> Source:
    """Several artefacts under the folder that their paths share, as KServe mounts one volume there."""
    mounts = [posixpath.normpath(entry.get("mountPath") or MODEL_MOUNT) for entry in listed]
    shared = posixpath.commonpath(mounts)
    if len(listed) == 1:
        return common._replace(uri=listed[0]["uri"], mount=shared)
    pieces = tuple(
        Piece(entry["uri"], "" if mount == shared else posixpath.relpath(mount, shared))
        for entry, mount in zip(listed, mounts, strict=True)
    )
    return common._replace(uri=pieces[0].uri, mount=shared, pieces=pieces)
