"""KServe's validation texts, word for word where a client may match on them, and the constants that they hang on.

Sources: KServe's `component.go` and `inference_service_validation.go` (`pkg/apis/serving/v1beta1`), `pkg/validation`.
Where KServe's text swaps its arguments (`invalid protocol`), the right order stands here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MIN_ABOVE_MAX = "'MinReplicas' cannot be greater than MaxReplicas"
MIN_REPLICAS_BELOW_ZERO = "'MinReplicas' cannot be less than 0"
MAX_REPLICAS_BELOW_ZERO = "'MaxReplicas' cannot be less than 0"
PARALLELISM_BELOW_ZERO = "parallelism cannot be less than 0"
LOGGER_TYPE = "invalid logger type"
LOGGER_STORAGE = "invalid logger storage configuration"
NAME_IN_MODEL = "the 'name' field is not allowed in standard predictor"
STORAGE_URI_IN_TRANSFORMER = "storage uri should not be specified in transformer container"
URI_AND_URIS = "Setting both StorageURI and StorageURIs is not supported."
WORKER_CONTAINERS = "setting multiple containers in workerSpec is not allowed"
WORKER_NEEDS_URI = "StorageURI must be set for multinode enabled"
CONFIDENTIAL_NEEDS_URI = "confidential model serving requires storageUri to be set"
DEPLOYMENT_STRATEGY = "customizing deploymentStrategy is only supported for raw deployment mode"
TARGET_UTILIZATION = "the target utilization percentage should be a [1-100] integer"
EMPTY_QUERY = "the query should not be empty"
EMPTY_THRESHOLD = "the target threshold value should not be empty"
KEDA_SCALE_METRIC = "ScaleMetric is not supported for KEDA"

BLOCKED_VARIABLES = ("PYTHONPATH",)
KBS_RESOURCE = re.compile(r"kbs:///[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/[a-zA-Z0-9_.-]+")

SCHEMES = (
    "gs",
    "s3",
    "pvc",
    "file",
    "https",
    "http",
    "hdfs",
    "webhdfs",
    "oci",
    "oci+native",
    "oci+fetch",
    "hf",
    "modelscope",
)
_LISTED_SCHEMES = ("gs", "s3", "pvc", "file", "https", "http", "hdfs", "webhdfs", "oci", "hf")

PREDICTOR_FORMS = (
    "SKLearn",
    "XGBoost",
    "Tensorflow",
    "PyTorch",
    "Triton",
    "ONNX",
    "HuggingFace",
    "PMML",
    "LightGBM",
    "Paddle",
    "Model",
    "StorageUris",
    "WorkerSpec",
    "PodSpec",
)
EXPLAINER_FORMS = ("ART", "StorageUris", "PodSpec")
TRANSFORMER_FORMS = ("StorageUris", "PodSpec")


def exactly_one(forms: Sequence[str], component: str, given: Sequence[str]) -> str:
    """The text on a component that has no form, or several."""
    found = ", ".join(given) or "none"
    return f"exactly one of [{', '.join(forms)}] must be specified in {component}; found {found}"


def in_service(name: str | None, text: str) -> str:
    """A text that KServe prefixes with the service's name."""
    return f'the InferenceService "{name or ""}" is invalid: {text}'


def blocked(name: str | None, variable: str, container: str | None) -> str:
    """The text on an environment variable that nobody may set."""
    return in_service(name, f'setting {variable} in container "{container or ""}" is not allowed for security reasons')


def unsupported_uri(uri: str) -> str:
    """The text on a storage URI of an unknown scheme."""
    prefixes = ", ".join(f"{scheme}://" for scheme in _LISTED_SCHEMES)
    return (
        f"storageUri, must be one of: [{prefixes}] or match https://{{}}.blob.core.windows.net/{{}}/{{}} or be an "
        f"absolute or relative local path. StorageUri [{uri}] is not supported"
    )


def bad_protocol(protocol: str) -> str:
    """The text on a custom container's PROTOCOL."""
    return f"invalid protocol {protocol}. Must be one of [v1, v2]"


def bad_resource_id(resource_id: str) -> str:
    """The text on a key's id."""
    return f'invalid confidential resourceId "{resource_id}": must be in the format kbs:///<repo>/<type>/<tag>'
