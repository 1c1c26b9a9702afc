"""The ClusterServingRuntimes that are there from the start: those that KServe installs, and a few of our own. Pure.

Names, formats, versions, priorities, protocols, arguments and variables are KServe's (its `config/runtimes`), so that a
manifest picks here what it picks on a cluster. What stands here in place of the images says `engines`. KServe ships the
OpenVINO runtime without installing it; here it is installed and disabled, which makes the same choices. Our own serve
what KServe's table lacks: gRPC for the table models, V1 for ONNX, Python classes; they have no priority, so that
KServe's come first wherever they fit. Amounts of CPU and memory are left out: KServe's are those of containers with a
server of their own, and a process here needs less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from colonnade.control.runtimes import engines
from colonnade.control.runtimes.selection import Runtime, Runtimes, read
from colonnade.runtimes import images

CONTAINER = "kserve-container"
SERVER_TYPE = "serving.kserve.io/server-type"
CONTENT = "colonnade.dev/built-in"  # annotation: the hash of a spec that is the catalogue's own
RUNS = "colonnade.dev/runs"  # annotation: what runs each format on this machine

_KSERVE_ARGS = ("--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080")


class _Format(NamedTuple):
    """An entry of `supportedModelFormats`; only those with `auto` are chosen for models that name no runtime."""

    name: str
    version: str = ""
    priority: int | None = None
    auto: bool = True


@dataclass(frozen=True)
class _Server:
    """One ClusterServingRuntime. `fields` are further ones of its spec, `container` of its container."""

    name: str
    formats: tuple[_Format, ...]
    protocols: tuple[str, ...] = ("v1", "v2")
    image: str = ""
    args: tuple[str, ...] = _KSERVE_ARGS
    env: Mapping[str, str] = field(default_factory=dict)
    metrics_port: str = "8080"
    container: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


def _models(path: str, port: int, **limits: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "successThreshold": 1, **limits}


_SERVERS = (
    _Server("autogluonserver", (_Format("autogluon", "1", 1),)),
    _Server("huggingfaceserver", (_Format("huggingface", "1", 1),), ("v2", "v1"), args=("--model_name={{.Name}}",)),
    _Server(
        "huggingfaceserver-multinode",
        (_Format("huggingface", "1", 2),),
        ("v2", "v1"),
        "huggingfaceserver-gpu",
        ("--model_name={{.Name}}",),
        fields={
            "workerSpec": {
                "pipelineParallelSize": 1,
                "tensorParallelSize": 1,
                "containers": [{"name": "worker-container", "image": "huggingfaceserver-gpu:replace"}],
            }
        },
    ),
    _Server("lgbserver", (_Format("lightgbm", "4", 1),), args=(*_KSERVE_ARGS, "--nthread=1")),
    _Server(
        "mlserver",
        (
            *(_Format("sklearn", version, 2) for version in "01"),
            *(_Format("xgboost", version, 2) for version in "12"),
            *(_Format("lightgbm", version, 2) for version in "34"),
            *(_Format("mlflow", version, 1) for version in "12"),
        ),
        ("v2",),
        args=(),
        env={
            "MLSERVER_MODEL_IMPLEMENTATION": "{{.Labels.modelClass}}",
            "MLSERVER_HTTP_PORT": "8080",
            "MLSERVER_GRPC_PORT": "9000",
        },
    ),
    _Server(
        "openvino",
        (
            _Format("openvino", "10", 1),
            _Format("onnx", "1", 2),
            _Format("tensorflow", "1", 3),
            _Format("huggingface"),
        ),
        ("v1", "v2", "grpc-v2"),
        "openvino/model_server",
        (
            "--model_name={{.Name}}",
            "--model_path=/mnt/models",
            "--port=9000",
            "--rest_port=8080",
            "--file_system_poll_wait_seconds=0",
        ),
        fields={"disabled": True},
    ),
    _Server("paddleserver", (_Format("paddle", "2", 1),)),
    _Server("pmmlserver", (_Format("pmml", "3", 1), _Format("pmml", "4", 1))),
    _Server(
        "predictiveserver",
        (
            _Format("sklearn", "1", 3, auto=False),
            _Format("xgboost", "2", 3, auto=False),
            _Format("lightgbm", "4", 3, auto=False),
        ),
        args=(*_KSERVE_ARGS, "--framework={{.Annotations.modelFormat}}", "--nthread=1"),
        fields={"multiModel": False},
    ),
    _Server("sklearnserver", (_Format("sklearn", "1", 1),)),
    _Server(
        "tensorflow-serving",
        (_Format("tensorflow", "1", 2), _Format("tensorflow", "2", 2)),
        ("v1", "grpc-v1"),
        args=(
            "--model_name={{.Name}}",
            "--port=9000",
            "--rest_api_port=8080",
            "--model_base_path=/mnt/models",
            "--rest_api_timeout_in_ms=60000",
        ),
    ),
    _Server(
        "torchserve",
        (_Format("pytorch", "1", 2),),
        ("v1", "v2", "grpc-v2"),
        args=(
            "torchserve",
            "--start",
            "--model-store=/mnt/models/model-store",
            "--ts-config=/mnt/models/config/config.properties",
        ),
        env={"TS_SERVICE_ENVELOPE": "{{.Labels.serviceEnvelope}}"},
        metrics_port="8082",
    ),
    _Server(
        "tritonserver",
        (
            _Format("tensorrt", "8", 1),
            _Format("tensorflow", "1", 1),
            _Format("tensorflow", "2", 1),
            _Format("onnx", "1", 1),
            _Format("pytorch", "1", auto=False),
            _Format("triton", "2", 1),
        ),
        ("v2", "grpc-v2"),
        args=(
            "tritonserver",
            "--model-store=/mnt/models",
            "--grpc-port=9000",
            "--http-port=8080",
            "--allow-grpc=true",
            "--allow-http=true",
        ),
        metrics_port="8002",
    ),
    _Server(
        "vllmserver",
        (_Format("vLLM", "1", 1),),
        (),
        args=("--port=8080", "--served-model-name={{.Name}}", "--model=/mnt/models"),
        env={"LMCACHE_USE_EXPERIMENTAL": "True", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"},
        container={
            "command": ["python", "-m", "vllm.entrypoints.openai.api_server"],
            "readinessProbe": _models("/v1/models", 8080, failureThreshold=3, periodSeconds=10, timeoutSeconds=5),
            "startupProbe": _models(
                "/v1/models",
                8080,
                failureThreshold=60,
                periodSeconds=30,
                timeoutSeconds=10,
                initialDelaySeconds=30,
            ),
        },
    ),
    _Server("xgbserver", (_Format("xgboost", "2", 1),), args=(*_KSERVE_ARGS, "--nthread=1")),
)


def objects(programs: Collection[str]) -> Iterator[dict[str, Any]]:
    """The ClusterServingRuntimes as manifests; each says in an annotation how it runs on this machine."""
    for server in _SERVERS:
        yield _object(f"kserve-{server.name}", server.name, _spec(server), programs)
    for model_format in images.IMAGES["colonnade"].adapters:
        spec = {
            "supportedModelFormats": [{"name": model_format, "autoSelect": True}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [{"name": CONTAINER, "image": "colonnade", "args": ["--model_name={{.Name}}"]}],
        }
        yield _object(f"colonnade-{model_format}", "colonnade", spec, programs)


def runtimes(programs: Collection[str] = ()) -> Runtimes:
    """The catalogue alone, as it is before anybody adds to it."""
    return Runtimes((), tuple(map(read, objects(programs))), frozenset(programs))


def is_own(obj: Mapping[str, Any]) -> bool:
    """Whether a stored ClusterServingRuntime is still as the catalogue made it, and nobody's change of it."""
    mark = (obj["metadata"].get("annotations") or {}).get(CONTENT)
    return mark is not None and mark == digest(obj.get("spec") or {})


def digest(spec: Mapping[str, Any]) -> str:
    """Of a runtime's spec: 16 hex digits."""
    return hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()[:16]


def runs(runtime: Runtime, programs: Collection[str]) -> str:
    """What runs each format of a runtime on this machine, for people."""
    if runtime.spec.get("workerSpec"):
        return "no: multi-node serving needs a cluster"
    container: Mapping[str, Any] = next(iter(runtime.spec.get("containers") or ()), {})
    said: dict[str, list[str]] = {}
    for entry in runtime.spec.get("supportedModelFormats") or ():
        match engines.of(container, entry["name"], programs, brought=False):
            case engines.Adapter(name, _):
                how = f"built in (adapter {name})"
            case engines.Program(words):
                how = f"command {words[0]}"
            case engines.Nothing(reason):
                how = f"no: {reason}"
        names = said.setdefault(how, [])
        if entry["name"] not in names:
            names.append(entry["name"])
    return "; ".join(f"{', '.join(names)}: {how}" for how, names in said.items())


def _object(name: str, server_type: str, spec: dict[str, Any], programs: Collection[str]) -> dict[str, Any]:
    runtime = Runtime(name, spec=spec)
    annotations = {SERVER_TYPE: server_type, CONTENT: digest(spec), RUNS: runs(runtime, programs)}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def _spec(server: _Server) -> dict[str, Any]:
    image = server.image or (server.name if server.name.startswith("huggingface") else f"kserve-{server.name}")
    container: dict[str, Any] = {"name": CONTAINER, "image": f"{image}:replace", **server.container}
    if server.args:
        container["args"] = list(server.args)
    if server.env:
        container["env"] = [{"name": name, "value": value} for name, value in server.env.items()]
    spec: dict[str, Any] = {
        "annotations": {"prometheus.kserve.io/port": server.metrics_port, "prometheus.kserve.io/path": "/metrics"},
        "supportedModelFormats": [_entry(each) for each in server.formats],
        "containers": [container],
        **server.fields,
    }
    return spec | ({"protocolVersions": list(server.protocols)} if server.protocols else {})


def _entry(each: _Format) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": each.name}
    if each.version:
        entry["version"] = each.version
    entry["autoSelect"] = each.auto
    return entry if each.priority is None else {**entry, "priority": each.priority}
