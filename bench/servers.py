"""How each server under test is installed and started. All of them serve `iris` and answer one V2 request."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE / ".work"
MODELS = WORK / "models"

V2 = "/v2/models/iris/infer"


@dataclass(frozen=True)
class Server:
    """One row of the comparison.

    Attributes:
        title: the row's name in the report.
        command: argv for (model file, port).
        packages: what the server's own environment holds; empty for the project's environment.
    """

    title: str
    command: Callable[[Path, int], list[str]]
    packages: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """The interpreter of the server's environment."""
        return environment(self) / "bin" / "python" if self.packages else Path(sys.executable)


def environment(server: Server) -> Path:
    """Where a peer's own environment lies."""
    return WORK / f"venv-{server.packages[0].split('=')[0]}"


def install(server: Server) -> None:
    """Makes the peer's environment, once."""
    if not server.packages or (environment(server) / ".done").exists():
        return
    uv = Path(sys.executable).with_name("uv")
    tool = str(uv) if uv.exists() else "uv"
    subprocess.run(
        [tool, "venv", "--quiet", "--allow-existing", "--python", sys.executable, environment(server)], check=True
    )
    subprocess.run([tool, "pip", "install", "--quiet", "--python", str(server.python), *server.packages], check=True)
    (environment(server) / ".done").touch()


def _bare(model: Path, port: int) -> list[str]:
    return [sys.executable, str(HERE / "bare_loop.py"), str(model), str(port)]


def _replica(model: Path, port: int) -> list[str]:
    serve = [sys.executable, "-m", "colonnade.server", "--model-name", "iris", "--runtime", "auto"]
    return [*serve, "--model-dir", str(model), "--http-port", str(port), "--grpc-port", str(port + 1)]


def _gateway(model: Path, port: int) -> list[str]:
    state = ["--state-dir", str(WORK / "state")]
    ports = ["--http-port", str(port), "--grpc-port", str(port + 1), "--api-port", str(port + 2)]
    return [str(Path(sys.executable).with_name("colonnade")), *state, "up", *ports, "-f", str(manifest(model))]


def manifest(model: Path) -> Path:
    """An InferenceService for the model file."""
    kind = {".onnx": "onnx", ".joblib": "sklearn"}[model.suffix]
    path = WORK / f"isvc-{kind}.yaml"
    path.write_text(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        f"spec: {{predictor: {{{kind}: {{storageUri: {model}, protocolVersion: v2}}}}}}\n"
    )
    return path


def _kserve(model: Path, port: int) -> list[str]:
    return [str(SERVERS["kserve"].python), str(HERE / "peers" / "kserve_server.py"), str(model), str(port)]


def _mlserver(model: Path, port: int) -> list[str]:
    return [str(SERVERS["mlserver"].python), str(HERE / "peers" / "mlserver_start.py"), str(model), str(port)]


SERVERS = {
    "bare": Server("bare uvloop loop (the limit)", _bare),
    "replica": Server("Colonnade, replica alone", _replica),
    "gateway": Server("Colonnade, through the gateway", _gateway),
    "kserve": Server("KServe's server", _kserve, ("kserve==0.21.0", "scikit-learn", "onnxruntime")),
    # With a newer uvloop MLServer 1.7.1 fails at start.
    "mlserver": Server(
        "MLServer, in-process", _mlserver, ("mlserver==1.7.1", "scikit-learn", "onnxruntime", "uvloop<0.22")
    ),
}
