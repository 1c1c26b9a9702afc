"""The kinds that the API serves, and the ones of KServe that it knows by name but does not serve yet.

Discovery, table output, storage and `check` all read this one list.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from colonnade.resources import columns, core
from colonnade.resources.columns import Column
from colonnade.resources.inferenceservice import GROUP, InferenceService
from colonnade.resources.runtime import ClusterServingRuntime, ServingRuntime

_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of the API.

    Attributes:
        group: API group; empty for core.
        version: version of the group.
        kind: CamelCase name.
        plural, singular, short_names: names in paths and on the command line.
        namespaced: whether objects lie in a namespace.
        verbs: what the API allows, as discovery lists it.
        columns: printer columns after and including the name.
        categories: groups of kinds that `kubectl get <category>` asks for.
        subresources: `status`, `log`.
        struct: typed view of an object.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    columns: tuple[Column, ...] = field(repr=False)
    struct: type[msgspec.Struct] = field(repr=False)
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`serving.kserve.io/v1beta1`, or `v1` for core."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """Kind of a list of these objects."""
        return f"{self.kind}List"


INFERENCE_SERVICE = Kind(
    group=GROUP,
    version="v1beta1",
    kind="InferenceService",
    plural="inferenceservices",
    singular="inferenceservice",
    short_names=("isvc",),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.INFERENCE_SERVICE,
    struct=InferenceService,
    subresources=("status",),
)
NAMESPACE = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    short_names=("ns",),
    namespaced=False,
    verbs=("create", "delete", "patch", "update", *_READ),
    columns=columns.NAMESPACE,
    struct=core.Namespace,
)
POD = Kind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    short_names=("po",),
    namespaced=True,
    verbs=_READ,
    columns=columns.POD,
    struct=core.Pod,
    categories=("all",),
    subresources=("log",),
)
EVENT = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    namespaced=True,
    verbs=("create", *_READ),
    columns=columns.EVENT,
    struct=core.Event,
)
CONFIG_MAP = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.CONFIG_MAP,
    struct=core.ConfigMap,
)
SECRET = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    singular="secret",
    short_names=(),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.SECRET,
    struct=core.Secret,
)

KINDS: tuple[Kind, ...] = (INFERENCE_SERVICE, NAMESPACE, POD, EVENT, CONFIG_MAP, SECRET)
"""What the API serves."""

NOT_SERVED: dict[str, type[msgspec.Struct] | None] = {
    "ServingRuntime": ServingRuntime,
    "ClusterServingRuntime": ClusterServingRuntime,
    "InferenceGraph": None,
    "TrainedModel": None,
    "ClusterStorageContainer": None,
    "LocalModelCache": None,
    "LocalModelNamespaceCache": None,
    "LocalModelNodeGroup": None,
    "LocalModelNode": None,
    "LLMInferenceService": None,
    "LLMInferenceServiceConfig": None,
}
"""Further kinds of KServe's group that `check` knows, with their typed view where there is one."""

_BY_KIND = {(kind.api_version, kind.kind): kind for kind in KINDS}
_BY_PLURAL = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}


def by_kind(api_version: object, kind: object) -> Kind | None:
    """The served kind of an object's `apiVersion` and `kind`, or None."""
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return None
    return _BY_KIND.get((api_version, kind))


def by_plural(group: str, version: str, plural: str) -> Kind | None:
    """The served kind of a path's group (empty for core), version and plural name, or None."""
    return _BY_PLURAL.get((group, version, plural))
