"""ClusterStorageContainer: what fetches URIs of some formats. Here its command runs as a local process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, NO_CONTAINER, RUNS, Resource, Ruling, field_doc
from colonnade.resources.meta import ObjectMeta
from colonnade.resources.podspec import Container
from colonnade.resources.served import image_name
from colonnade.resources.shape import brief
from colonnade.resources.strict import Cause

INIT_CONTAINER = "initContainer"
DOWNLOAD_JOB = "localModelDownloadJob"
BUILT_IN_IMAGE = "storage-initializer"  # KServe's own, whose schemes the platform fetches itself

_ONE_PAIR = "the command is called for each URI"


def _image(value: Any, container: Mapping[str, Any]) -> Ruling:
    if container.get("command"):
        return Ruling(EMULATED, "the command runs as a local process, without the image")
    if isinstance(value, str) and image_name(value) == BUILT_IN_IMAGE:
        return Ruling(EMULATED, "the platform fetches these URIs itself")
    return Ruling(CLUSTER_ONLY, f"{NO_CONTAINER}; give a `command`, which is called with URI and folder")


class FetchingContainer(Container, frozen=True):
    """What fetches: a command that is called with a URI and a folder."""

    image: Annotated[str | None, field_doc("Image to run.", rule=_image)] = None


class SupportedUriFormat(Resource, frozen=True):
    """URIs that are fetched: by prefix, or by a pattern found anywhere in them."""

    prefix: Annotated[str | None, field_doc("What the URI begins with.", RUNS)] = None
    regex: Annotated[str | None, field_doc("A pattern that the URI contains.", RUNS)] = None


class StorageContainerSpec(Resource, frozen=True):
    """What runs, for which URIs."""

    container: Annotated[FetchingContainer, field_doc("What fetches; it is called with URI and folder.")]
    supported_uri_formats: Annotated[list[SupportedUriFormat], field_doc("URIs that it fetches.")]
    workload_type: Annotated[
        str | None,
        field_doc(
            "For services (`initContainer`) or for local model caches (`localModelDownloadJob`).",
            RUNS,
            schema={"enum": [INIT_CONTAINER, DOWNLOAD_JOB], "default": INIT_CONTAINER},
        ),
    ] = None
    supports_multi_model_download: Annotated[
        bool | None, field_doc("Whether one call takes several URIs.", EMULATED, _ONE_PAIR)
    ] = None


class ClusterStorageContainer(Resource, frozen=True):
    """What fetches the models of some URIs."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[StorageContainerSpec, field_doc("What runs, for which URIs.")]
    disabled: Annotated[bool | None, field_doc("Whether it is passed over.", RUNS)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "serving.kserve.io/v1alpha1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "ClusterStorageContainer"


def rules(found: ClusterStorageContainer) -> Iterator[Cause]:
    """What the schema cannot say."""
    kind = found.spec.workload_type
    if kind not in (None, INIT_CONTAINER, DOWNLOAD_JOB):
        yield (
            "spec.workloadType",
            f'Unsupported value: {brief(kind)}: supported values: "{INIT_CONTAINER}", "{DOWNLOAD_JOB}"',
        )
    for index, entry in enumerate(found.spec.supported_uri_formats):
        path = f"spec.supportedUriFormats[{index}]"
        if bool(entry.prefix) == bool(entry.regex):
            yield path, "exactly one of prefix and regex must be given"
        elif entry.regex:
            try:
                re.compile(entry.regex)
            except re.error as error:
                yield f"{path}.regex", f"Invalid value: {brief(entry.regex)}: {error}"
