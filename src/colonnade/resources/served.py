"""What this version serves, as far as a manifest can tell: formats, storage, images; and the rulings that follow.

The runtimes and the storage lie above this room, so the facts stand here as data and the rooms' tests hold them against
the catalogue. Rulings by value are pure functions: the value and the object that holds it in, a ruling out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from colonnade import flags
from colonnade.flags import Effect
from colonnade.resources import knative
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, NOT_RUN, RUNS, UNKNOWN, Ruling
from colonnade.resources.strict import suggestion

SERVING_CONTAINER = "kserve-container"
TRANSFORMER_CONTAINER = "transformer-container"

FORMATS = (
    "sklearn",
    "xgboost",
    "lightgbm",
    "onnx",
    "pmml",
    "mlflow",
    "python",
    "tensorflow",
    "huggingface",
    "pytorch",
)
PROGRAMS: Mapping[str, str] = {
    "autogluon": "autogluonserver",
    "openvino": "ovms",
    "paddle": "paddleserver",
    "tensorrt": "tritonserver",
    "triton": "tritonserver",
    "vLLM": "vllm",
}
"""Formats of KServe that are served by their own server's program, if this machine has it."""

RUNTIMES = (
    *(f"colonnade-{name}" for name in FORMATS),
    "kserve-autogluonserver",
    "kserve-huggingfaceserver",
    "kserve-huggingfaceserver-multinode",
    "kserve-lgbserver",
    "kserve-mlserver",
    "kserve-openvino",
    "kserve-paddleserver",
    "kserve-pmmlserver",
    "kserve-predictiveserver",
    "kserve-sklearnserver",
    "kserve-tensorflow-serving",
    "kserve-torchserve",
    "kserve-tritonserver",
    "kserve-vllmserver",
    "kserve-xgbserver",
)
IMAGES = (
    "autogluonserver",
    "huggingfaceserver",
    "huggingfaceserver-gpu",
    "lgbserver",
    "mlserver",
    "model_server",
    "paddleserver",
    "pmmlserver",
    "predictiveserver",
    "serving",
    "sklearnserver",
    "tensorflow-serving",
    "torchserve",
    "torchserve-kfs",
    "tritonserver",
    "vllm-openai",
    "vllm-openai-cpu",
    "vllmserver",
    "xgbserver",
)
_FOREIGN = frozenset(IMAGES) - {
    "autogluonserver",
    "huggingfaceserver",
    "huggingfaceserver-gpu",
    "lgbserver",
    "paddleserver",
    "pmmlserver",
    "predictiveserver",
    "sklearnserver",
    "xgbserver",
}  # images of servers that have flags of their own
SCHEMES = (
    "abfs",
    "abfss",
    "file",
    "gs",
    "hdfs",
    "hf",
    "http",
    "https",
    "oci",
    "oci+fetch",
    "oci+native",
    "pvc",
    "s3",
    "webhdfs",
)
LOCAL_SCHEMES = ("", "file")  # "": a plain path

ART_TYPE = "SquareAttack"
ART_SETTINGS = ("eps", "max_iter", "nb_classes")
ART_IMAGE = "art-explainer"
ART_NOTE = "a process that asks the predictor; needs the extra `art`: pip install colonnade[art]"

_FORMATS_TEXT = ", ".join(FORMATS)
_NO_ENGINE = "needs a container engine; give a `command` that runs on this machine"


def scheme_of(uri: str) -> str:
    """The part before `://`, or nothing for a path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator else ""


def storage_uri(value: Any, _: Mapping[str, Any]) -> Ruling:
    """Of KServe's schemes all but one are fetched; those that mean a cluster's own things are stood in for."""
    scheme = scheme_of(value) if isinstance(value, str) else ""
    if isinstance(value, str) and _FILE_SHARE.match(value):
        return Ruling(CLUSTER_ONLY, f"Azure file shares are {NOT_RUN}; copy the model to a blob container")
    if scheme in _STAND_INS:
        return Ruling(EMULATED, _STAND_INS[scheme])
    if scheme in ("", *SCHEMES):
        return Ruling(RUNS)
    return Ruling(CLUSTER_ONLY, f"{scheme}:// is {NOT_RUN}; use a path, s3://, gs://, hf:// or https://")


def torch_storage_uri(value: Any, holder: Mapping[str, Any]) -> Ruling:
    """Whether a folder holds a graph or an archive of TorchServe, and what that needs, is known when it is there."""
    found = storage_uri(value, holder)
    if found.verdict not in (RUNS, EMULATED) or holder.get("command") or str(value).endswith(_GRAPHS):
        return found
    return Ruling(EMULATED, f"{found.note}; {_TORCHSERVE}" if found.note else _TORCHSERVE)


def model_storage_uri(value: Any, model: Mapping[str, Any]) -> Ruling:
    """Where a model of any format lies."""
    named = model.get("modelFormat")
    torch = isinstance(named, dict) and named.get("name") == "pytorch" and not _of_another_server(model)
    return torch_storage_uri(value, model) if torch else storage_uri(value, model)


_GRAPHS = (".pt2", ".pt", ".pth")
_TORCHSERVE = (
    ".pt2, .pt and a TorchServe archive (.mar) without a handler are served; one whose handler is a program is refused "
    "when it is loaded, and needs TorchServe itself, by a runtime with a `command`"
)
_PULLED = "the image is pulled and its /models unpacked, without a container engine"
_STAND_INS: Mapping[str, str] = {
    "pvc": "a folder of this machine stands for the claim: `colonnade up --pvc NAME=DIR`",
    "oci": _PULLED,
    "oci+fetch": _PULLED,
    "oci+native": _PULLED,
    "abfs": "KServe takes it only as https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH",
    "abfss": "KServe takes it only as https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH",
}
_FILE_SHARE = re.compile(
    r"https://[^/]+\.(?:file\.core\.windows\.net|z[0-9]{1,2}\.file\.storage\.azure\.net)/", re.IGNORECASE
)


def model_format(value: Any, _: Mapping[str, Any]) -> Ruling:
    """What serves a format; one that nothing here is made for may be that of a runtime of the user's."""
    if value in FORMATS:
        return Ruling(RUNS)
    if value in PROGRAMS:
        return Ruling(EMULATED, f"served by {PROGRAMS[value]} if this machine has it, or by a runtime with a `command`")
    return Ruling(
        EMULATED,
        f"no built-in runtime serves {value}, a ServingRuntime with a `command` must; built in: {_FORMATS_TEXT}",
    )


def runtime(value: Any, _: Mapping[str, Any]) -> Ruling:
    """A built-in runtime stands in for KServe's of the same name; others are ServingRuntimes that the user makes."""
    if value in RUNTIMES:
        return Ruling(EMULATED, "Colonnade's built-in runtime of the format serves under this name")
    return Ruling(RUNS, "a ServingRuntime of the namespace, or a ClusterServingRuntime")


def protocol_version(value: Any, _: Mapping[str, Any]) -> Ruling:
    """It chooses the runtime; the built-in server speaks every protocol that it has at once."""
    if value in ("v1", "v2", "grpc-v2"):
        return Ruling(RUNS, "chooses the runtime; the built-in server speaks V1, V2 and gRPC at once")
    return Ruling(EMULATED, f"chooses the runtime; {value} itself is spoken by its server only")


def min_replicas(value: Any, _: Mapping[str, Any]) -> Ruling:
    """The least number; what zero means depends on who scales."""
    if value == 0:
        return Ruling(
            RUNS, "the last replica goes when nobody asks; by cpu, by memory and with a fixed number, it is 1"
        )
    return Ruling(RUNS)


def max_replicas(value: Any, _: Mapping[str, Any]) -> Ruling:
    """The greatest number; where a cluster knows none, the machine does."""
    if value == 0:
        return Ruling(EMULATED, "no limit but the machine's: as many as there are cores, and what fits")
    return Ruling(RUNS)


def scale_metric_type(value: Any, _: Mapping[str, Any]) -> Ruling:
    """KServe reads `scaleTarget` as a utilisation, whatever type is given."""
    if value == "Utilization":
        return Ruling(RUNS)
    return Ruling(EMULATED, "scaleTarget is a percent of the request, as in KServe; autoScaling.metrics takes amounts")


def component_annotation(_: Any, entry: Mapping[str, Any]) -> Ruling:
    """Annotations of a component are those of its pods; those for the autoscaler count as the service's do."""
    key = str(entry["key"])
    return knative.ruling(key) if key.startswith(knative.PREFIX) else Ruling(RUNS)


def image_name(reference: str) -> str:
    """The last part of an image's repository: `docker.io/kserve/sklearnserver:v1@sha256:…` is `sklearnserver`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def is_known_image(reference: str) -> bool:
    """Whether a built-in runtime stands in for the image."""
    return image_name(reference).removeprefix("kserve-") in IMAGES


def is_art_image(reference: str) -> bool:
    """Whether an image is that of KServe's built-in explainer."""
    return image_name(reference) == ART_IMAGE


def art_image(value: Any, container: Mapping[str, Any]) -> Ruling:
    """The image of KServe's built-in explainer, whose work is done by a program of ours."""
    if isinstance(value, str) and is_art_image(value) and not container.get("command"):
        return Ruling(EMULATED, "a program of this package stands in for it")
    return image(value, container)


def art_type(value: Any, _: Mapping[str, Any]) -> Ruling:
    """KServe knows one attack."""
    if str(value).lower() == ART_TYPE.lower():
        return Ruling(RUNS, ART_NOTE)
    return Ruling(UNKNOWN, f"{ART_TYPE} is the one there is")


def art_setting(_: Any, holder: Mapping[str, Any]) -> Ruling:
    """A setting of the attack."""
    name = str(holder["key"])
    if name in ART_SETTINGS:
        return Ruling(RUNS)
    return Ruling(UNKNOWN, f"no such setting{suggestion(name, ART_SETTINGS)}")


def image(value: Any, container: Mapping[str, Any]) -> Ruling:
    """KServe's images of served formats are replaced by the built-in runtime; others need a command to run here."""
    if container.get("command"):
        return Ruling(EMULATED, "the command runs as a local process, without the image")
    if isinstance(value, str) and is_known_image(value):
        return Ruling(EMULATED, "Colonnade's built-in server stands in for it, or its server's program if it is here")
    return Ruling(CLUSTER_ONLY, _NO_ENGINE)


def argument(_: Any, holder: Mapping[str, Any]) -> Ruling:
    """One word of `args`: a program of the user's takes any; the model server takes its flags and some of KServe's."""
    if holder.get("command") or _of_another_server(holder):
        return Ruling(RUNS)
    reference = holder.get("image")
    is_model = "storageUri" in holder or "modelFormat" in holder
    if isinstance(reference, str) and not is_model and not is_known_image(reference):
        return Ruling(CLUSTER_ONLY, _NO_ENGINE)
    if isinstance(reference, str) and not is_model and image_name(reference).removeprefix("kserve-") in _FOREIGN:
        return Ruling(EMULATED, "of the image's own server; where the built-in one stands in for it, it is left out")
    index: int = holder["index"]
    return _rulings(holder["args"])[index]


def _of_another_server(model: Mapping[str, Any]) -> bool:
    """Whether a model is served by a program whose arguments are its own business."""
    named = model.get("modelFormat")
    name = named.get("name") if isinstance(named, dict) else None
    chosen = model.get("runtime")
    return (isinstance(name, str) and name not in FORMATS) or (isinstance(chosen, str) and chosen not in RUNTIMES)


def _rulings(words: list[str]) -> list[Ruling]:
    """The rulings on a command line of the model server; a flag's value has that of its flag."""
    rulings: list[Ruling] = []
    waiting: Ruling | None = None  # the ruling of a flag whose value comes next
    for word in words:
        name, equals, _ = flags.canonical(word).partition("=")
        flag = flags.FLAGS.get(name)
        if waiting is not None and not word.startswith("--"):
            rulings.append(waiting)
            waiting = None
        elif flag is None:
            near = suggestion(name, flags.FLAGS)
            rulings.append(Ruling(UNKNOWN, f"no flag of the model server, which does not start with it{near}"))
            waiting = rulings[-1] if word.startswith("--") and not equals else None
        else:
            rulings.append(_RULINGS[flag.effect](flag.note))
            waiting = rulings[-1] if flag.takes_value and not equals else None
    return rulings


_RULINGS: Mapping[Effect, Callable[[str], Ruling]] = {
    Effect.WORKS: lambda note: Ruling(RUNS, note),
    Effect.ADAPTED: lambda note: Ruling(EMULATED, note),
    Effect.PLACED: lambda note: Ruling(EMULATED, note),
    Effect.FETCHED: lambda _: Ruling(
        EMULATED, "fetched through the cache as hf://OWNER/NAME, if no storageUri is there"
    ),
    Effect.NONE: lambda note: Ruling(EMULATED, f"has no effect here: {note}"),
    Effect.REFUSED: lambda note: Ruling(CLUSTER_ONLY, f"the replica does not start with it: {note}"),
}


def logger_url(value: Any, _: Mapping[str, Any]) -> Ruling:
    """Events go to a URL or to a bucket; Azure's is not among them."""
    scheme = str(value).partition("://")[0]
    if scheme in ("http", "https", "s3", "gs"):
        return Ruling(RUNS)
    return Ruling(CLUSTER_ONLY, f"{scheme}:// takes no payload log here; use http(s)://, s3://, gs:// or storage.path")


def logger_path(value: Any, _: Mapping[str, Any]) -> Ruling:
    """A path in the bucket of the storage secret, or the place itself."""
    scheme, mark, _rest = str(value).partition("://")
    if not mark or scheme in ("file", "pvc", "s3", "gs"):
        return Ruling(RUNS)
    return Ruling(CLUSTER_ONLY, f"{scheme}:// takes no payload log here; use /DIR, file://, pvc://, s3:// or gs://")


def main_container(containers: list[Any]) -> Any:
    """The container that serves: the one named `kserve-container`, or else the first (KServe's rule)."""
    for candidate in containers:
        if isinstance(candidate, dict) and candidate.get("name") == SERVING_CONTAINER:
            return candidate
    return containers[0] if containers else None


def container(value: Any, component: Mapping[str, Any]) -> Ruling | None:
    """The main container of a component runs, and a transformer beside what predicts; others do not."""
    containers = component.get("containers")
    beside = _has_framework(component) or (isinstance(containers, list) and len(containers) > 1)
    if beside and isinstance(value, dict) and value.get("name") == TRANSFORMER_CONTAINER:
        return None
    if _has_framework(component):
        return Ruling(CLUSTER_ONLY, f"containers beside a model are {NOT_RUN}: only the model is served")
    if isinstance(containers, list) and main_container(containers) is value:
        return None
    return Ruling(CLUSTER_ONLY, f"further containers are {NOT_RUN}: a service with more than one is refused")


def _has_framework(component: Mapping[str, Any]) -> bool:
    return "model" in component or any(key in component for key in LEGACY_KEYS)


LEGACY_KEYS = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
"""The framework keys that KServe's webhook rewrites to `model`, in the order of KServe's struct."""
