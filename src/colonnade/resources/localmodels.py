"""Local model caches: models that are downloaded before a service asks for them, and stay. One machine is one node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from colonnade.errors import InvalidInput
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, RUNS, Resource, field_doc
from colonnade.resources.meta import Int32, ObjectMeta
from colonnade.resources.podspec import FreeObject, Quantity
from colonnade.resources.quantity import parse
from colonnade.resources.strict import Cause

_VOLUMES = "models lie in the platform's one cache; no volume is made"
_MADE_HERE = "written by the control plane"
_IMMUTABLE = "StorageUri is immutable"


class LocalModelResources(NamedTuple):
    """The plural names in the API."""

    cluster: str = "localmodelcaches"
    namespaced: str = "localmodelnamespacecaches"
    groups: str = "localmodelnodegroups"


LOCAL_MODEL_RESOURCES = LocalModelResources()


class LocalModelStorage(Resource, frozen=True):
    """Credentials by a key of the storage secret."""

    key: Annotated[str | None, field_doc("Key in the secret `storage-config`.", RUNS)] = None
    parameters: Annotated[dict[str, str] | None, field_doc("Parameters that win over the secret's.", RUNS)] = None


class LocalModelCacheSpec(Resource, frozen=True):
    """Which model is kept, and where."""

    source_model_uri: Annotated[str, field_doc("Where the model comes from; it cannot be changed.", RUNS)]
    model_size: Annotated[Quantity, field_doc("Room that is reserved for it, such as `10Gi`.", RUNS)]
    node_groups: Annotated[
        Annotated[list[str], msgspec.Meta(min_length=1)], field_doc("Groups whose limits it counts against.", RUNS)
    ]
    service_account_name: Annotated[str | None, field_doc("Whose secrets the download may use.", RUNS)] = None
    storage: Annotated[LocalModelStorage | None, field_doc("Credentials by a key of the storage secret.")] = None


class LocalModelCopies(Resource, frozen=True):
    """Counts of copies."""

    available: Annotated[Int32 | None, field_doc("Copies that are there.")] = None
    total: Annotated[Int32 | None, field_doc("Copies that there are to be.")] = None
    failed: Annotated[Int32 | None, field_doc("Copies that could not be made.")] = None


class LocalModelCacheStatus(Resource, frozen=True):
    """How the download fares."""

    node_status: Annotated[
        dict[str, str] | None,
        field_doc("By node: `NodeDownloadPending`, `NodeDownloading`, `NodeDownloaded` or `NodeDownloadError`."),
    ] = None
    copies: Annotated[LocalModelCopies | None, field_doc("Counts of copies.")] = None
    inference_services: Annotated[list[FreeObject] | None, field_doc("Services that use it.")] = None
    message: Annotated[str | None, field_doc("Progress, or what went wrong.")] = None


class LocalModelCache(Resource, frozen=True):
    """A model that is kept on the machine for services of all namespaces."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[LocalModelCacheSpec, field_doc("Which model is kept.")]
    status: Annotated[LocalModelCacheStatus | None, field_doc("How it fares.", EMULATED, _MADE_HERE)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "serving.kserve.io/v1alpha1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "LocalModelCache"


class LocalModelNamespaceCache(LocalModelCache, frozen=True):
    """A model that is kept on the machine for services of one namespace; it wins over a cluster's."""

    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "LocalModelNamespaceCache"


class LocalModelNodeGroupSpec(Resource, frozen=True):
    """What the models of a group may take."""

    storage_limit: Annotated[Quantity | None, field_doc("Sum of the models' sizes.", RUNS)] = None
    persistent_volume_spec: Annotated[FreeObject | None, field_doc("Volume per node.", CLUSTER_ONLY, _VOLUMES)] = None
    persistent_volume_claim_spec: Annotated[
        FreeObject | None, field_doc("Claim per namespace.", CLUSTER_ONLY, _VOLUMES)
    ] = None


class LocalModelNodeGroup(Resource, frozen=True):
    """A group of nodes; here the one machine, under a name and with a limit."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[LocalModelNodeGroupSpec, field_doc("What its models may take.")]
    status: Annotated[dict[str, Any] | None, field_doc("What its models take.", EMULATED, _MADE_HERE)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "serving.kserve.io/v1alpha1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "LocalModelNodeGroup"


def cache_rules(found: LocalModelCache, old: Mapping[str, Any] | None) -> Iterator[Cause]:
    """What the schema of a cache cannot say."""
    yield from _quantity("spec.modelSize", found.spec.model_size)
    if not found.spec.source_model_uri:
        yield "spec.sourceModelUri", "Required value: name where the model lies"
    before = ((old or {}).get("spec") or {}).get("sourceModelUri")
    if before is not None and before != found.spec.source_model_uri:
        yield "spec.sourceModelUri", f'Invalid value: "{found.spec.source_model_uri}": {_IMMUTABLE}'


def group_rules(found: LocalModelNodeGroup) -> Iterator[Cause]:
    """What the schema of a group cannot say."""
    if found.spec.storage_limit is not None:
        yield from _quantity("spec.storageLimit", found.spec.storage_limit)


def _quantity(path: str, amount: int | float | str) -> Iterator[Cause]:
    try:
        negative = parse(amount) < 0
    except InvalidInput as error:
        yield path, f"Invalid value: {error.message}"
        return
    if negative:
        yield path, f"Invalid value: {amount} must be greater than or equal to 0"
