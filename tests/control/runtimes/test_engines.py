"""What runs a container on a machine without a container engine, and where it listens."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.runtimes import engines, listening
from colonnade.control.runtimes.engines import Adapter, Nothing, Program


@pytest.mark.parametrize(
    ("container", "form", "programs", "engine"),
    [
        ({"image": "kserve/sklearnserver:v1"}, "sklearn", (), Adapter("sklearn")),
        ({"image": "kserve-sklearnserver:replace"}, "sklearn", (), Adapter("sklearn")),
        ({"image": "registry.example:5000/a/lgbserver@sha256:00ff"}, "lightgbm", (), Adapter("lightgbm")),
        ({"image": "mlserver:1"}, "xgboost", (), Adapter("xgboost", False)),
        ({"image": "mlserver:1"}, "sklearn", ("mlserver",), Adapter("sklearn", False)),  # it is faster here
        ({"image": "mlserver:1"}, "catboost", ("mlserver",), Program(("mlserver", "start", "/mnt/models"))),
        ({"image": "a/predictiveserver"}, None, (), Adapter("auto")),
        ({"image": "a/pmmlserver"}, None, (), Adapter("pmml")),
        (
            {"image": "a/tritonserver", "args": ["tritonserver", "--x"]},
            "onnx",
            ("tritonserver",),
            Adapter("onnx", False),
        ),
        (
            {"image": "a/tritonserver", "args": ["tritonserver", "--x"]},
            "tensorrt",
            ("tritonserver",),
            Program(("tritonserver", "--x")),
        ),
        ({"image": "a/tritonserver", "args": ["--x"]}, "tensorrt", ("tritonserver",), Program(("tritonserver", "--x"))),
        ({"image": "openvino/model_server", "args": ["--x"]}, "openvino", ("ovms",), Program(("ovms", "--x"))),
        (
            {"image": "tensorflow/serving:2", "command": ["/usr/bin/tensorflow_model_server"]},
            "tensorflow",
            (),
            Adapter("tensorflow", False),
        ),
        (
            {"image": "tensorflow/serving:2", "command": ["/usr/bin/tensorflow_model_server"], "args": ["-x"]},
            "tensorflow",
            ("tensorflow_model_server",),
            Program(("/usr/bin/tensorflow_model_server", "-x")),
        ),
        (
            {"image": "me/mine:1", "command": ["python", "s.py"], "args": ["-x"]},
            "any",
            (),
            Program(("python", "s.py", "-x")),
        ),
        ({"command": ["x"]}, None, (), Program(("x",))),
        ({"image": "sklearnserver", "command": ["mine"]}, "sklearn", (), Program(("mine",))),
    ],
)
def test_what_runs_a_container(
    container: dict[str, Any], form: str | None, programs: tuple[str, ...], engine: engines.Engine
) -> None:
    assert engines.of(container, form, programs, brought=False) == engine


@pytest.mark.parametrize(
    ("container", "form", "words"),
    [
        ({"image": "me/mine:1"}, None, "it is none of the images"),
        ({}, None, "it is none of the images"),
        ({"image": "a/tritonserver"}, "tensorrt", "its server tritonserver is not on the PATH"),
        ({"image": "vllm/vllm-openai:1"}, "vLLM", "`colonnade.dev/requirements: vllm`"),
        ({"image": "a/vllmserver", "command": ["python", "-m", "x"]}, "vLLM", "its server vllm is not on the PATH"),
        ({"image": "a/sklearnserver"}, "xgboost", "serves sklearn here, not xgboost"),
    ],
)
def test_what_cannot_run_says_why_and_what_would_help(container: dict[str, Any], form: str | None, words: str) -> None:
    found = engines.of(container, form, (), brought=False)
    assert isinstance(found, Nothing)
    assert words in found.reason


def test_an_environment_brings_its_program() -> None:
    container = {"image": "vllm/vllm-openai:1", "args": ["--x"]}
    found = engines.of(container, "vLLM", (), brought=True)
    assert found == Program(("python", "-m", "vllm.entrypoints.openai.api_server", "--x"))


@pytest.mark.parametrize(
    ("container", "args", "transport"),
    [
        ({"args": ["--http_port=8080"]}, ["--http_port=$(PORT)"], "port"),
        ({"args": ["--port", "8080", "8080"]}, ["--port", "$(PORT)", "8080"], "port"),
        ({"args": ["--batch=8080", "--size", "8080"]}, ["--batch=8080", "--size", "8080"], "port"),
        (
            {"args": ["--port=9000", "--rest_api_port=8080"]},
            ["--port=$(GRPC_PORT)", "--rest_api_port=$(PORT)"],
            "ports",
        ),
        (
            {"args": ["--http-port=8080", "--grpc-port=8081"]},
            ["--http-port=$(PORT)", "--grpc-port=$(GRPC_PORT)"],
            "ports",
        ),
        (
            {"args": ["--grpc_port=9000"], "ports": [{"name": "h2c", "containerPort": 9000}]},
            ["--grpc_port=$(GRPC_PORT)"],
            "h2c",
        ),
        ({"args": ["--metrics-port=8002"]}, ["--metrics-port=$(METRICS_PORT)"], "port"),
        ({"args": ["--port=5000"], "ports": [{"containerPort": 5000}]}, ["--port=$(PORT)"], "port"),
        ({"args": ["--port=5000"]}, ["--port=5000"], "port"),
        ({"args": [], "ports": [{"name": "grpc", "containerPort": 1}]}, [], "h2c"),
    ],
)
def test_a_program_listens_where_its_replica_does(container: dict[str, Any], args: list[str], transport: str) -> None:
    found = listening.placed(container)
    assert (found.container.get("args"), found.transport) == (args, transport)


def test_variables_name_ports_too() -> None:
    names = {
        "MLSERVER_HTTP_PORT": "8080",
        "MLSERVER_GRPC_PORT": "9000",
        "MLSERVER_METRICS_PORT": "8082",
        "SIZE": "8080",
    }
    env = [{"name": name, "value": value} for name, value in names.items()]
    secret = {"name": "A_PORT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    found = listening.placed({"command": ["x"], "env": [*env, secret]})
    values = [entry.get("value") for entry in found.container["env"]]
    assert values == ["$(PORT)", "$(GRPC_PORT)", "$(METRICS_PORT)", "8080", None]
    assert found.container["env"][-1] == secret
    assert found.transport == "ports"
