"""Rules on `storageUris`, the list form of a component's artefacts (KServe's `validateMultipleStorageURIs`)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from colonnade.resources import kserve_texts as texts
from colonnade.resources.inferenceservice import ComponentExtension, Explainer, Predictor, StorageUri
from colonnade.resources.strict import Cause


def storage_uris(path: str, component: ComponentExtension) -> Iterator[Cause]:
    """Each artefact has a URI and an absolute path without `..`; the paths share a parent other than `/`."""
    listed = component.storage_uris
    if listed is None:
        return
    if _single_uri(component) is not None:
        yield f"{path}.storageUris", texts.URI_AND_URIS
    for index, item in enumerate(listed):
        if text := _failure(item):
            yield f"{path}.storageUris[{index}]", text
    yield from _common(f"{path}.storageUris", listed)


def _single_uri(component: ComponentExtension) -> str | None:
    if isinstance(component, Predictor):
        return component.model_uri
    if isinstance(component, Explainer) and component.art is not None:
        return component.art.storage_uri
    return None


def _failure(item: StorageUri) -> str | None:
    if not item.uri:
        return "storage URI cannot be empty"
    if item.mount_path == "/":
        return "storage path cannot be empty"
    if not item.mount_path.startswith("/"):
        return f"storage path must be absolute: {item.mount_path}"
    if ".." in item.mount_path:
        return f"storage path cannot contain '..' for security reasons: {item.mount_path}"
    return None


def _common(path: str, listed: Sequence[StorageUri]) -> Iterator[Cause]:
    claims = [item.mount_path for item in listed if item.uri.startswith("pvc://")]
    paths = [item.mount_path for item in listed if not item.uri.startswith("pvc://")]
    if len(set(claims)) < len(claims):
        yield path, "PVC storage paths must be unique"
    absolute = all(item.startswith("/") for item in paths)
    if len(paths) > 1 and absolute and posixpath.commonpath(paths) == "/":
        yield (
            path,
            (
                f"storage paths must have a common parent directory. Current paths: [{' '.join(paths)}] "
                "have no common parent beyond root"
            ),
        )
