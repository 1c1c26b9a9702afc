"""What a pod leaves open until its process is started: `template` writes these names, `replica` fills them in."""

from __future__ import annotations

PYTHON = "COLONNADE_PYTHON"  # the interpreter that the process gets: the control plane's, or its own environment's
SOCKET = "COLONNADE_SOCKET"
GRPC_SOCKET = "COLONNADE_GRPC_SOCKET"
MODELS = "COLONNADE_MODELS"  # a folder with one folder for each model that is a single file and is expected in one
MODEL_SET = "COLONNADE_MODEL_SET"  # the folder of the models of a multi-model service
DIRECT = "COLONNADE_DIRECT_PORT"  # the service's own port, if it has one
PREDICTOR = "COLONNADE_PREDICTOR_HOST"  # `host:port` of the predictor, for a transformer or an explainer
PREDICTOR_GRPC = "COLONNADE_PREDICTOR_GRPC_HOST"  # the same for gRPC, for what shares a pod with the predictor
COMPILED = "COLONNADE_COMPILED"
COMPILE_REPORT = "COLONNADE_COMPILE_REPORT"
TERMINATION = "COLONNADE_TERMINATION_FILE"
PORT = "PORT"  # Knative's name for where a container listens
GRPC_PORT = "GRPC_PORT"  # where a program listens that speaks gRPC beside HTTP
METRICS_PORT = "METRICS_PORT"  # where it shows metrics, if it insists on a port of their own

ALL = frozenset(
    {PYTHON, SOCKET, GRPC_SOCKET, MODELS, MODEL_SET, DIRECT, PREDICTOR, PREDICTOR_GRPC, COMPILED, COMPILE_REPORT}
    | {TERMINATION, PORT, GRPC_PORT, METRICS_PORT}
)


def reference(name: str) -> str:
    """The variable as Kubernetes writes it in a container's words."""
    return f"$({name})"
