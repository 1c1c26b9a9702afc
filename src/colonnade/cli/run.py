"""`colonnade run`: a model file or folder becomes a service in one command."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import click

from colonnade import defaults
from colonnade.cli.api import Api, kind_path
from colonnade.cli.exits import CommandFailed, NotReady
from colonnade.cli.state import Target, endpoints
from colonnade.cli.targets import kind_named, named, pods_of
from colonnade.cli.up import port, start
from colonnade.cli.why import look, show
from colonnade.control.layout import Endpoints
from colonnade.control.settings import Settings
from colonnade.errors import Error
from colonnade.resources.kinds import INFERENCE_SERVICE
from colonnade.runtimes import catalogue


@click.command("run", short_help="serve a model file or folder in one command")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--name", help="Name of the service; the default is the name of the file, or of the folder that holds model.*."
)
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

        announcement = _Announcement(Target(Path(folder)), service, f"serving {model} as {service} ({chosen})")
        try:
            start(settings, log_level, announcement.begin)
        finally:
            announcement.end()
    if announcement.failed:
        raise NotReady(f"{model} cannot be served; the causes are above")


class _Announcement:
    """Says where the service answers once it is Ready and prints its log from then on; or says why it never will be.

    It watches from a thread, by the API like any other client, while the platform runs on the main one.
    """

    def __init__(self, target: Target, service: str, title: str) -> None:
        self._target = target
        self._service = service
        self._title = title
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.failed = False

    def begin(self, _: Endpoints) -> None:
        """The platform answers."""
        self._thread.start()

    def end(self) -> None:
        """The platform has stopped, so whatever it is asked now fails."""
        self._ended.set()

    def _watch(self) -> None:
        try:
            api = Api.from_kubeconfig(self._target.kubeconfig)
            while not self._ended.wait(0.05):
                diagnosis = look(api, named(api, INFERENCE_SERVICE, "default", self._service))
                if diagnosis.ready:
                    self._say_ready()
                    self._follow(api)
                    return
                if diagnosis.failed:
                    show(diagnosis)
                    self.failed = True
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
        except CommandFailed:
            return  # the platform is on its way down, and says so itself

    def _say_ready(self) -> None:
        found = endpoints(self._target.state_dir)
        service, base = self._service, f"{found.http}/serving/default/{self._service}"
        click.echo(f"{self._title}; Ctrl-C stops it")
        click.echo(f"  V1    {base}/v1/models/{service}:predict")
        click.echo(f"  V2    {base}/v2/models/{service}/infer")
        click.echo(f"  gRPC  {found.grpc}, model {service}")
        click.echo(f"  try   curl {base}/v1/models/{service}:predict -d '{{\"instances\": [...]}}'")
        click.echo(f"  more  colonnade --state-dir {self._target.state_dir} describe isvc {service}")
        sys.stdout.flush()

    def _follow(self, api: Api) -> None:
        for pod in pods_of(api, "default", self._service):
            path = kind_path(kind_named("pod"), "default", pod["metadata"]["name"]) + "/log"
            for line in api.lines(path, {"follow": "true", "sinceSeconds": "1"}):
                click.echo(line, err=True)


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
