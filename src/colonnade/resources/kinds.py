"""The kinds that the API serves, and the ones of KServe that it knows by name but does not serve yet.

Discovery, table output, storage and `check` all read this one list.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from colonnade.resources import columns, core
from colonnade.resources.columns import Column
from colonnade.resources.inferencegraph import InferenceGraph
from colonnade.resources.inferenceservice import GROUP, InferenceService
from colonnade.resources.localmodels import LocalModelCache, LocalModelNamespaceCache, LocalModelNodeGroup
from colonnade.resources.runtime import ClusterServingRuntime, ServingRuntime
from colonnade.resources.serviceaccount import ServiceAccount
from colonnade.resources.storagecontainer import ClusterStorageContainer
from colonnade.resources.trainedmodel import TrainedModel

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
INFERENCE_GRAPH = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="InferenceGraph",
    plural="inferencegraphs",
    singular="inferencegraph",
    short_names=("ig",),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.INFERENCE_GRAPH,
    struct=InferenceGraph,
    subresources=("status",),
)
TRAINED_MODEL = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="TrainedModel",
    plural="trainedmodels",
    singular="trainedmodel",
    short_names=("tm",),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.TRAINED_MODEL,
    struct=TrainedModel,
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
NODE = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    singular="node",
    short_names=("no",),
    namespaced=False,
    verbs=_READ,
    columns=columns.NODE,
    struct=core.Node,
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

CONTROLLER_REVISION = Kind(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    singular="controllerrevision",
    short_names=(),
    namespaced=True,
    verbs=_READ,
    columns=columns.CONTROLLER_REVISION,
    struct=core.ControllerRevision,
)

SERVICE_ACCOUNT = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.SERVICE_ACCOUNT,
    struct=ServiceAccount,
)
STORAGE_CONTAINER = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="ClusterStorageContainer",
    plural="clusterstoragecontainers",
    singular="clusterstoragecontainer",
    short_names=(),
    namespaced=False,
    verbs=_WRITE + _READ,
    columns=columns.STORAGE_CONTAINER,
    struct=ClusterStorageContainer,
)
LOCAL_MODEL_CACHE = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="LocalModelCache",
    plural="localmodelcaches",
    singular="localmodelcache",
    short_names=(),
    namespaced=False,
    verbs=_WRITE + _READ,
    columns=columns.LOCAL_MODEL_CACHE,
    struct=LocalModelCache,
    subresources=("status",),
)
LOCAL_MODEL_NAMESPACE_CACHE = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="LocalModelNamespaceCache",
    plural="localmodelnamespacecaches",
    singular="localmodelnamespacecache",
    short_names=(),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.LOCAL_MODEL_CACHE,
    struct=LocalModelNamespaceCache,
    subresources=("status",),
)
LOCAL_MODEL_NODE_GROUP = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="LocalModelNodeGroup",
    plural="localmodelnodegroups",
    singular="localmodelnodegroup",
    short_names=(),
    namespaced=False,
    verbs=_WRITE + _READ,
    columns=columns.LOCAL_MODEL_NODE_GROUP,
    struct=LocalModelNodeGroup,
    subresources=("status",),
)

SERVING_RUNTIME = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="ServingRuntime",
    plural="servingruntimes",
    singular="servingruntime",
    short_names=(),
    namespaced=True,
    verbs=_WRITE + _READ,
    columns=columns.SERVING_RUNTIME,
    struct=ServingRuntime,
)
CLUSTER_SERVING_RUNTIME = Kind(
    group=GROUP,
    version="v1alpha1",
    kind="ClusterServingRuntime",
    plural="clusterservingruntimes",
    singular="clusterservingruntime",
    short_names=(),
    namespaced=False,
    verbs=_WRITE + _READ,
    columns=columns.SERVING_RUNTIME,
    struct=ClusterServingRuntime,
)

KINDS: tuple[Kind, ...] = (
    INFERENCE_SERVICE,
    INFERENCE_GRAPH,
    TRAINED_MODEL,
    NAMESPACE,
    POD,
    NODE,
    EVENT,
    CONFIG_MAP,
    SECRET,
    CONTROLLER_REVISION,
    SERVICE_ACCOUNT,
    STORAGE_CONTAINER,
    LOCAL_MODEL_CACHE,
    LOCAL_MODEL_NAMESPACE_CACHE,
    LOCAL_MODEL_NODE_GROUP,
    SERVING_RUNTIME,
    CLUSTER_SERVING_RUNTIME,
)
"""What the API serves."""

NOT_SERVED: dict[str, type[msgspec.Struct] | None] = {
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
