"""`colonnade run`: a model file or folder becomes a service in one command."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from colonnade import defaults
from colonnade.cli.api import Api
from colonnade.cli.exits import CommandFailed, NotReady
from colonnade.cli.state import Target
from colonnade.cli.up import port, start
from colonnade.cli.why import look, show
from colonnade.control.plane import Endpoints, Settings
from colonnade.errors import Error
from colonnade.runtimes import catalogue


@click.command("run", short_help="serve a model file or folder in one command")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the service; the default is the name of the file or folder.")
@click.option("--format", "model_format", help="Model format, such as sklearn; the default is read off the file.")
@click.option("--replicas", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--trust-code", is_flag=True, help="Load the model even if it can run code of its own.")
@click.option("--http-port", type=port, default=defaults.HTTP_PORT, show_default=True, help="0 picks a free one.")
@click.option("--grpc-port", type=port, default=defaults.GRPC_PORT, show_default=True, help="0 picks a free one.")
@click.option("--api-port", type=port, default=defaults.API_PORT, show_default=True, help="0 picks a free one.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="warning", show_default=True
)
def command(
    model: Path,
    name: str | None,
    model_format: str | None,
    replicas: int,
    trust_code: bool,
    http_port: int,
    grpc_port: int,
    api_port: int,
    log_level: str,
) -> None:
    """Serve MODEL, a file or a folder, until Ctrl-C. Nothing is kept: its state folder is a temporary one."""
    try:
        chosen = model_format or catalogue.detect(model)
    except Error as error:
        raise CommandFailed(error.message) from None
    manifest = inference_service(name or service_name(model), chosen, model.absolute(), replicas, trust_code)
    service = manifest["metadata"]["name"]
    with tempfile.TemporaryDirectory(prefix="colonnade-") as folder:
        settings = Settings(
            state_dir=Path(folder),
            http_port=http_port,
            grpc_port=grpc_port,
            api_port=api_port,
            manifests=(manifest,),
        )

        outcome = _Outcome()

        def watch(endpoints: Endpoints) -> None:
            arguments = (Path(folder), service, lambda: say(endpoints), outcome)
            threading.Thread(target=_announce, args=arguments, daemon=True).start()

        def say(endpoints: Endpoints) -> None:
            click.echo(f"serving {model} as {service} ({chosen}); Ctrl-C stops it")
            base = f"{endpoints.http}/serving/default/{service}"
            click.echo(f"  V1    {base}/v1/models/{service}:predict")
            click.echo(f"  V2    {base}/v2/models/{service}/infer")
            click.echo(f"  gRPC  {endpoints.grpc}, model {service}")
            sys.stdout.flush()

        start(settings, log_level, watch)
    if outcome.failed:
        raise NotReady(f"{model} cannot be served; the causes are above")


@dataclass
class _Outcome:
    failed: bool = False


def _announce(state_dir: Path, service: str, say: Callable[[], None], outcome: _Outcome) -> None:
    """Says where the service answers once it is Ready, or why it never will be and ends the platform."""
    api = Api.from_kubeconfig(Target(state_dir).kubeconfig)
    while True:
        diagnosis = look(api, "default", service)
        if diagnosis.ready:
            say()
            return
        if diagnosis.failed:
            show(diagnosis)
            outcome.failed = True
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.05)


def service_name(model: Path) -> str:
    """A valid name from a file's: `My Model_v2.joblib` is `my-model-v2`; `model.joblib` is named by its folder."""
    resolved = model.resolve()
    word = resolved.parent.name if resolved.is_file() and resolved.stem in ("model", "pipeline") else resolved.stem
    if resolved.is_dir():
        word = resolved.name
    name = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
    return name if name[:1].isalpha() else f"model-{name}".rstrip("-")


def inference_service(name: str, model_format: str, location: Path, replicas: int, trust_code: bool) -> dict[str, Any]:
    """The manifest that `run` stands for."""
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    if trust_code:
        metadata["annotations"] = {defaults.TRUST_CODE: "true"}
    model = {"modelFormat": {"name": model_format}, "storageUri": str(location)}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": {"minReplicas": replicas, "model": model}},
    }
