"""What KServe's webhook adds for particular model servers before a runtime's placeholders are filled in. Pure.

Sources: KServe's `inference_service_defaults.go` (`SetMlServerDefaults`, `SetTorchServeDefaults`,
`SetTritonDefaults`). A few variables are ours: several servers share one machine, and none shall listen beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from colonnade import defaults
from colonnade.control.runtimes.builtin import SERVER_TYPE
from colonnade.control.runtimes.selection import Runtime
from colonnade.control.workload import variables
from colonnade.control.workload.variables import reference
from colonnade.runtimes.images import MODELS

_MODEL_CLASSES = {
    "sklearn": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "mlflow": "mlserver_mlflow.MLflowRuntime",
}


class ServerDefaults(NamedTuple):
    """For one server: labels that placeholders may name, and what its kind of server is."""

    server: str
    labels: Mapping[str, str]
    protocol: str


def of(runtime: Runtime, model_format: str, protocol: str) -> ServerDefaults:
    """For the server of a runtime, known by its annotation or by KServe's name for the runtime."""
    server = runtime.annotations.get(SERVER_TYPE) or runtime.name.removeprefix("kserve-")
    labels = {}
    if server == "mlserver" and model_format in _MODEL_CLASSES:
        labels["modelClass"] = _MODEL_CLASSES[model_format]
    if server == "torchserve":
        labels["serviceEnvelope"] = "kserve" if protocol == "v1" else "kservev2"
    return ServerDefaults(server, labels, protocol)


def added(container: Mapping[str, Any], given: ServerDefaults, service: str, *, stored: bool) -> dict[str, Any]:
    """A manifest's container with what the server needs and the manifest does not say.

    `stored` says whether a model is fetched for it.
    """
    env: dict[str, str] = {}
    args: list[str] = []
    if given.server == "mlserver":
        env = {"MLSERVER_HOST": defaults.HOST, "MLSERVER_METRICS_PORT": reference(variables.METRICS_PORT)}
        if stored:
            env |= {"MLSERVER_MODEL_NAME": service, "MLSERVER_MODEL_URI": MODELS}
        else:
            env["MLSERVER_LOAD_MODELS_AT_STARTUP"] = "false"
    elif given.server == "torchserve":
        env = {"PROTOCOL_VERSION": given.protocol}
    elif given.server == "tritonserver":
        args = [f"--metrics-port={reference(variables.METRICS_PORT)}", f"--http-address={defaults.HOST}"]
        args += [f"--grpc-address={defaults.HOST}", *([] if stored else ["--model-control-mode=explicit"])]
    own = list(container.get("env") or ())
    names = {entry.get("name") for entry in own}
    made = {**container, "env": [*({"name": k, "value": v} for k, v in env.items() if k not in names), *own]}
    return {**made, "args": [*args, *(container.get("args") or ())]} if args else made
