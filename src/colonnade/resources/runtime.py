"""ServingRuntime and ClusterServingRuntime: how models of some formats are run, in a namespace or everywhere."""

from __future__ import annotations

from typing import Annotated, Any

from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, NOT_RUN, RUNS, Resource, field_doc
from colonnade.resources.meta import Int32, Int64, ObjectMeta
from colonnade.resources.podspec import PodSpec

_MODEL_MESH = "ModelMesh is not part of this product"
_MULTI_NODE = "multi-node serving needs a cluster: the runtime is kept and never chosen here"


class SupportedModelFormat(Resource, frozen=True):
    """A model format that a runtime serves."""

    name: Annotated[str, field_doc("Name of the format.", RUNS)]
    version: Annotated[str | None, field_doc("Version of the format.", RUNS)] = None
    auto_select: Annotated[bool | None, field_doc("Whether the runtime is chosen for models that name none.", RUNS)] = (
        None
    )
    priority: Annotated[Int32 | None, field_doc("Which of several fitting runtimes wins.", RUNS)] = None


class StorageHelper(Resource, frozen=True):
    """Model fetching under ModelMesh."""

    disabled: Annotated[bool | None, field_doc("Whether it is off.")] = None


class BuiltInAdapter(Resource, frozen=True):
    """A model server that ModelMesh knows."""

    server_type: Annotated[str | None, field_doc("Kind of the server.")] = None
    runtime_management_port: Annotated[Int64 | None, field_doc("Port for management.")] = None
    mem_buffer_bytes: Annotated[Int64 | None, field_doc("Memory held back.")] = None
    model_loading_timeout_millis: Annotated[Int64 | None, field_doc("Limit of a load.")] = None
    env: Annotated[list[dict[str, Any]] | None, field_doc("Environment of the adapter.")] = None


class RuntimeWorkerSpec(PodSpec, frozen=True):
    """Further nodes that serve one model together."""

    pipeline_parallel_size: Annotated[Int64 | None, field_doc("Number of workers.")] = None
    tensor_parallel_size: Annotated[Int64 | None, field_doc("Accelerators per node.")] = None
    labels: Annotated[dict[str, str] | None, field_doc("Labels of the workers.")] = None
    annotations: Annotated[dict[str, str] | None, field_doc("Annotations of the workers.")] = None


class ServingRuntimeSpec(PodSpec, frozen=True):
    """The pod that serves a format, with placeholders for the service's name."""

    supported_model_formats: Annotated[list[SupportedModelFormat] | None, field_doc("Formats that are served.")] = None
    multi_model: Annotated[
        bool | None, field_doc("Whether one pod serves several models.", RUNS, "then it is not chosen for one model")
    ] = None
    disabled: Annotated[bool | None, field_doc("Whether the runtime is passed over.", RUNS)] = None
    protocol_versions: Annotated[list[str] | None, field_doc("Protocols that are spoken.", RUNS)] = None
    worker_spec: Annotated[RuntimeWorkerSpec | None, field_doc("Further nodes.", CLUSTER_ONLY, _MULTI_NODE)] = None
    labels: Annotated[dict[str, str] | None, field_doc("Labels of the pods.", RUNS)] = None
    annotations: Annotated[
        dict[str, str] | None,
        field_doc("Annotations of the pods.", EMULATED, "kept on the pods; nothing scrapes by them"),
    ] = None
    grpc_endpoint: Annotated[
        str | None, field_doc("Management endpoint under ModelMesh.", CLUSTER_ONLY, _MODEL_MESH)
    ] = None
    grpc_data_endpoint: Annotated[
        str | None, field_doc("gRPC endpoint under ModelMesh.", CLUSTER_ONLY, _MODEL_MESH)
    ] = None
    http_data_endpoint: Annotated[
        str | None, field_doc("HTTP endpoint under ModelMesh.", CLUSTER_ONLY, _MODEL_MESH)
    ] = None
    replicas: Annotated[Int32 | None, field_doc("Pods under ModelMesh.", CLUSTER_ONLY, _MODEL_MESH)] = None
    storage_helper: Annotated[
        StorageHelper | None, field_doc("Model fetching under ModelMesh.", CLUSTER_ONLY, _MODEL_MESH)
    ] = None
    built_in_adapter: Annotated[
        BuiltInAdapter | None, field_doc("A model server that ModelMesh knows.", CLUSTER_ONLY, _MODEL_MESH)
    ] = None


class ServingRuntime(Resource, frozen=True):
    """How models of some formats are run in a namespace."""

    metadata: Annotated[ObjectMeta, field_doc("Name, labels and annotations.")]
    spec: Annotated[ServingRuntimeSpec, field_doc("The pod that serves.")]
    status: Annotated[dict[str, Any] | None, field_doc("Unused.", CLUSTER_ONLY, NOT_RUN)] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "serving.kserve.io/v1alpha1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "ServingRuntime"


class ClusterServingRuntime(ServingRuntime, frozen=True):
    """How models of some formats are run in the whole cluster."""

    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "ClusterServingRuntime"
