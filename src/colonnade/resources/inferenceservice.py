"""InferenceService, KServe's main kind: one model endpoint of predictor, transformer and explainer.

The structs follow KServe's v1beta1 schema field by field. `parse` gives the typed view of a stored object; the object
itself stays a dict. The status is written by the control plane in KServe's shape (`status`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from colonnade.resources import served
from colonnade.resources.autoscaling import AutoScaling, MetricType
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, NOT_RUN, RUNS, Resource, field_doc
from colonnade.resources.meta import ISVC_NAME, Int32, Int64, ObjectMeta
from colonnade.resources.podspec import Container, PodSpec
from colonnade.resources.status import InferenceServiceStatus
from colonnade.resources.strict import invalid, type_errors_of

GROUP = "serving.kserve.io"
API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"

_USE_CONTAINERS = "no longer a field of KServe; write the same as `containers`"
RETIRED = {
    "alibi": "no longer built into KServe; run the explainer as a container under `containers`",
    "aix": "no longer built into KServe; run the explainer as a container under `containers`",
    "custom": _USE_CONTAINERS,
    "container": _USE_CONTAINERS,
    "parallelism": "no longer a field of KServe; use containerConcurrency",
    "default": "of v1alpha2; put its `predictor` directly under spec",
}
"""Fields that manifests for older versions of KServe have, and what stands in for them."""

_REFUSED = f"{NOT_RUN}: a service with one is refused"
_CHAINED = "it is told where the predictor is by --predictor_host"
_NO_ARTEFACT = "not read: the attack has no artefact, and KServe's does not read it either"
_MOUNT = "in command, args and env the path is replaced by where the artefact lies"
_SPLIT = "the gateway splits exactly, request by request"


class LoggerStorage(Resource, frozen=True):
    """Where logged payloads are stored."""

    path: Annotated[
        str | None, field_doc("Path in the bucket; here also a folder: /DIR, file://, pvc://.", rule=served.logger_path)
    ] = None
    parameters: Annotated[
        dict[str, str] | None, field_doc("Parameters of the storage; `format` is json, csv or parquet.")
    ] = None
    key: Annotated[str | None, field_doc("Key of the credentials.")] = None
    service_account_name: Annotated[str | None, field_doc("Service account with the credentials.")] = None


class Logger(Resource, frozen=True):
    """Payload logging: requests and responses as CloudEvents."""

    url: Annotated[str | None, field_doc("Where events are posted.", rule=served.logger_url)] = None
    mode: Annotated[Literal["all", "request", "response"] | None, field_doc("What is logged.")] = None
    metadata_headers: Annotated[list[str] | None, field_doc("Request headers to log.")] = None
    metadata_annotations: Annotated[list[str] | None, field_doc("Annotations to log.")] = None
    storage: Annotated[LoggerStorage | None, field_doc("Where payloads are stored, instead of a URL.")] = None
    marshaller_url: Annotated[
        str | None,
        field_doc("Service that formats stored payloads.", EMULATED, "not asked: json, csv and parquet are built in"),
    ] = None
    batch_size: Annotated[Int64 | None, field_doc("Events per stored object.")] = None
    batch_interval: Annotated[str | None, field_doc("Longest wait for a batch.")] = None


class Batcher(Resource, frozen=True):
    """Request batching."""

    max_batch_size: Annotated[
        Int64 | None,
        field_doc(
            "Greatest number of instances in a batch.",
            RUNS,
            "most rows that one call gets from several requests; how many of them pay is measured",
        ),
    ] = None
    max_latency: Annotated[
        Int64 | None,
        field_doc(
            "Longest wait for a batch, in milliseconds.",
            RUNS,
            "only while requests come together; a lone one never waits, and without this none does",
        ),
    ] = None
    timeout: Annotated[
        Int64 | None,
        field_doc(
            "Limit of a batch, in seconds.", EMULATED, "has no effect here: spec.predictor.timeout bounds each request"
        ),
    ] = None


class StorageUri(Resource, frozen=True):
    """One of several artefacts, and where it is put."""

    uri: Annotated[str, field_doc("Where the artefact lies.", rule=served.storage_uri)]
    mount_path: Annotated[
        Annotated[str, msgspec.Meta(pattern="^/.*", max_length=255)],
        field_doc("Where it is put.", EMULATED, _MOUNT, schema={"default": "/mnt/models"}),
    ] = "/mnt/models"


class ComponentExtension(PodSpec, frozen=True):
    """What predictor, transformer and explainer share: the pod's fields, and how the component is deployed."""

    min_replicas: Annotated[
        Int32 | None, field_doc("Least number of replicas, 1 if not given; 0 scales to zero.", rule=served.min_replicas)
    ] = None
    max_replicas: Annotated[
        Int32 | None, field_doc("Greatest number of replicas; 0 is no limit.", rule=served.max_replicas)
    ] = None
    scale_target: Annotated[Int32 | None, field_doc("Target value of scaleMetric.", RUNS)] = None
    scale_metric: Annotated[
        Literal["cpu", "memory", "concurrency", "rps"] | None, field_doc("Metric to scale by.", RUNS)
    ] = None
    scale_metric_type: Annotated[
        MetricType | None, field_doc("How scaleTarget is read.", rule=served.scale_metric_type)
    ] = None
    auto_scaling: Annotated[AutoScaling | None, field_doc("Scaling by several metrics.", RUNS)] = None
    container_concurrency: Annotated[
        Int64 | None,
        field_doc("Requests that a replica takes at once; 0 is no limit.", RUNS, "more wait in the gateway"),
    ] = None
    timeout: Annotated[Int64 | None, field_doc("Limit of one request, in seconds.", RUNS, "kept by the gateway")] = None
    canary_traffic_percent: Annotated[
        Int64 | None, field_doc("Percent of traffic for the latest revision.", RUNS, _SPLIT)
    ] = None
    logger: Annotated[Logger | None, field_doc("Payload logging.", RUNS, "by the gateway, without a sidecar")] = None
    batcher: Annotated[Batcher | None, field_doc("Request batching.")] = None
    labels: Annotated[dict[str, str] | None, field_doc("Labels of the replicas.", RUNS)] = None
    annotations: Annotated[
        dict[str, str] | None, field_doc("Annotations of the replicas.", rule=served.component_annotation)
    ] = None
    deployment_strategy: Annotated[
        dict[str, Any] | None,
        field_doc("How replicas are replaced.", CLUSTER_ONLY, f"{NOT_RUN}: new replicas start before old ones stop"),
    ] = None
    storage_uris: Annotated[
        Annotated[list[StorageUri], msgspec.Meta(min_length=1)] | None,
        field_doc("Several artefacts, each with its path."),
    ] = None

    @property
    def replicas(self) -> int:
        """Replicas that this version runs: minReplicas, at least 1."""
        return 1 if self.min_replicas is None else max(1, self.min_replicas)


class ModelFormat(Resource, frozen=True):
    """Format of a model, such as `sklearn`."""

    name: Annotated[str, field_doc("Name of the format.", rule=served.model_format)]
    version: Annotated[
        str | None,
        field_doc("Version of the format.", EMULATED, "chooses the runtime; its library's version may differ"),
    ] = None


class ModelStorage(Resource, frozen=True):
    """A model's place by the key of a storage secret."""

    key: Annotated[str | None, field_doc("Key in the secret `storage-config`.")] = None
    path: Annotated[str | None, field_doc("Path of the model.")] = None
    schema_path: Annotated[
        str | None, field_doc("Path of the model's schema.", CLUSTER_ONLY, f"schemas of ModelMesh are {NOT_RUN}")
    ] = None
    parameters: Annotated[dict[str, str] | None, field_doc("Parameters that override the secret's.", RUNS)] = None


class Confidential(Resource, frozen=True):
    """Serving of encrypted models."""

    enabled: Annotated[bool, field_doc("Whether the model is encrypted.")]
    resource_id: Annotated[str | None, field_doc("Key's id: kbs:///<repo>/<type>/<tag>.")] = None


class Framework(Container, frozen=True):
    """A model served by a runtime, as under KServe's framework keys; container fields override the runtime's."""

    storage_uri: Annotated[
        str | None, field_doc("Where the model lies: a path, or a URI.", rule=served.storage_uri)
    ] = None
    storage: Annotated[
        ModelStorage | None,
        field_doc("Where the model lies, by a storage secret.", RUNS, "credentials from the secret's key"),
    ] = None
    runtime_version: Annotated[
        str | None,
        field_doc(
            "Version of the runtime's image.",
            EMULATED,
            "the image's tag, which only names it: the installed library serves, or that of colonnade.dev/requirements",
        ),
    ] = None
    protocol_version: Annotated[
        str | None, field_doc("`v1`, `v2`, `grpc-v1` or `grpc-v2`.", rule=served.protocol_version)
    ] = None
    confidential: Annotated[Confidential | None, field_doc("Serving of an encrypted model.", CLUSTER_ONLY, NOT_RUN)] = (
        None
    )
    image: Annotated[
        str | None, field_doc("Image of the runtime.", EMULATED, "says which server is meant; no image is run")
    ] = None
    command: Annotated[
        list[str] | None, field_doc("Program of the runtime.", RUNS, "runs as a local process in the runtime's place")
    ] = None


class ProgramFramework(Framework, frozen=True):
    """A model that its own server's program serves, which takes what arguments it takes."""

    args: Annotated[list[str] | None, field_doc("Arguments of the server, after those of its runtime.", RUNS)] = None


class TorchFramework(Framework, frozen=True):
    """A model of PyTorch, for which KServe's TorchServe takes archives with programs of their own."""

    storage_uri: Annotated[
        str | None, field_doc("Where the model lies: a path, or a URI.", rule=served.torch_storage_uri)
    ] = None


class Model(Framework, frozen=True, kw_only=True):
    """A model of any format, served by the runtime that fits."""

    storage_uri: Annotated[
        str | None, field_doc("Where the model lies: a path, or a URI.", rule=served.model_storage_uri)
    ] = None
    model_format: Annotated[ModelFormat, field_doc("Format of the model.")]
    runtime: Annotated[str | None, field_doc("The runtime to use, by its name.", rule=served.runtime)] = None


class WorkerSpec(PodSpec, frozen=True):
    """Further nodes that serve one model together."""

    pipeline_parallel_size: Annotated[Int64 | None, field_doc("Number of workers.")] = None
    tensor_parallel_size: Annotated[Int64 | None, field_doc("Accelerators per node.")] = None


def _framework_doc(key: str, title: str) -> msgspec.Meta:
    return field_doc(f"{title}. Short form of `model` with `modelFormat.name: {key}`.")


class Predictor(ComponentExtension, frozen=True):
    """What answers predictions. Exactly one of `model`, a framework key and `containers` is given."""

    model: Annotated[Model | None, field_doc("A model of any format.")] = None
    sklearn: Annotated[Framework | None, _framework_doc("sklearn", "scikit-learn model")] = None
    xgboost: Annotated[Framework | None, _framework_doc("xgboost", "XGBoost model")] = None
    tensorflow: Annotated[Framework | None, _framework_doc("tensorflow", "TensorFlow model")] = None
    pytorch: Annotated[TorchFramework | None, _framework_doc("pytorch", "PyTorch model")] = None
    triton: Annotated[ProgramFramework | None, _framework_doc("triton", "Triton model repository")] = None
    onnx: Annotated[Framework | None, _framework_doc("onnx", "ONNX model")] = None
    huggingface: Annotated[Framework | None, _framework_doc("huggingface", "Hugging Face model")] = None
    pmml: Annotated[Framework | None, _framework_doc("pmml", "PMML model")] = None
    lightgbm: Annotated[Framework | None, _framework_doc("lightgbm", "LightGBM model")] = None
    paddle: Annotated[ProgramFramework | None, _framework_doc("paddle", "PaddlePaddle model")] = None
    name: Annotated[
        Annotated[str, msgspec.Meta(pattern=f"^{ISVC_NAME}$")] | None,
        field_doc("Name of this variant of the predictor, for canaries.", RUNS),
    ] = None
    storage_container_name: Annotated[
        str | None, field_doc("ClusterStorageContainer that fetches the model.", RUNS)
    ] = None
    worker_spec: Annotated[
        WorkerSpec | None, field_doc("Further nodes.", CLUSTER_ONLY, f"several nodes per replica are {_REFUSED}")
    ] = None

    @property
    def frameworks(self) -> tuple[tuple[str, Framework], ...]:
        """The model forms that are given, by key; one in a valid predictor without containers."""
        forms = [(key, getattr(self, key)) for key in ("model", *served.LEGACY_KEYS)]
        return tuple((key, form) for key, form in forms if form is not None)

    @property
    def main_container(self) -> Container | None:
        """The container that serves a custom predictor, or None."""
        named = [container for container in self.containers or () if container.name == served.SERVING_CONTAINER]
        return next(iter(named or self.containers or ()), None)

    @property
    def model_uri(self) -> str | None:
        """Where the model lies: the model form's storageUri, or a custom container's STORAGE_URI (KServe's rule)."""
        for _, form in self.frameworks:
            return form.storage_uri
        return self._container_env("STORAGE_URI")

    @property
    def protocol(self) -> str:
        """The protocol that clients expect; KServe's default is v1."""
        for _, form in self.frameworks:
            return form.protocol_version or "v1"
        return self._container_env("PROTOCOL") or "v1"

    def _container_env(self, name: str) -> str | None:
        container = self.main_container
        variables = (container.env if container else None) or ()
        return next((variable.value for variable in variables if variable.name == name), None)


class Transformer(ComponentExtension, frozen=True):
    """What stands before the predictor and changes requests and answers."""


class ArtExplainer(Container, frozen=True):
    """An explainer of the Adversarial Robustness Toolbox."""

    image: Annotated[str | None, field_doc("Image to run.", rule=served.art_image)] = None
    args: Annotated[list[str] | None, field_doc("Further arguments.", RUNS)] = None
    storage_uri: Annotated[str | None, field_doc("Where the explainer's artefact lies.", EMULATED, _NO_ARTEFACT)] = None
    storage: Annotated[
        ModelStorage | None, field_doc("Where it lies, by a storage secret.", EMULATED, _NO_ARTEFACT)
    ] = None
    runtime_version: Annotated[
        str | None, field_doc("Version of the explainer's image.", EMULATED, "the program is this package's own")
    ] = None
    type: Annotated[str | None, field_doc("The explainer: `SquareAttack`.", rule=served.art_type)] = None
    config: Annotated[
        dict[str, str] | None, field_doc("Its settings: `nb_classes`, `max_iter`, `eps`.", rule=served.art_setting)
    ] = None


class Explainer(ComponentExtension, frozen=True):
    """What answers requests for explanations."""

    art: Annotated[
        ArtExplainer | None,
        field_doc("Adversarial Robustness Toolbox.", RUNS, served.ART_NOTE),
    ] = None


class Canary(Resource, frozen=True):
    """A variant of the predictor with its share of traffic."""

    predictor: Annotated[Predictor, field_doc("The variant; what it leaves out is as in `spec.predictor`.")]
    traffic_percent: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=100)], field_doc("Percent of traffic that it gets.", RUNS, _SPLIT)
    ]


class InferenceServiceSpec(Resource, frozen=True):
    """What is to be served."""

    predictor: Annotated[Predictor, field_doc("What answers predictions.")]
    transformer: Annotated[
        Transformer | None,
        field_doc("What changes requests and answers.", RUNS, _CHAINED),
    ] = None
    explainer: Annotated[Explainer | None, field_doc("What explains predictions.", RUNS, _CHAINED)] = None
    canary: Annotated[list[Canary] | None, field_doc("Variants of the predictor with their traffic.")] = None


class InferenceService(Resource, frozen=True):
    """One model endpoint: a predictor, and what may stand round it."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    spec: Annotated[InferenceServiceSpec, field_doc("What is to be served.")]
    status: Annotated[
        InferenceServiceStatus | None,
        field_doc("What is served.", EMULATED, "written by the control plane; passed over in a manifest"),
    ] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = API_VERSION
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = KIND


def parse(obj: Mapping[str, Any]) -> InferenceService:
    """The typed view of an InferenceService; unknown fields are passed over.

    Raises:
        Invalid: a field has the wrong type or a required one is missing; `causes` names each with its path.
    """
    causes = type_errors_of(InferenceService, obj)
    if causes:
        raise invalid(obj, causes)
    return msgspec.convert(obj, InferenceService)
