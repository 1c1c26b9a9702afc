"""From start to end of a replica's process: loading, failing to load, scripts, ports."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .replica import DEADLINE, Start, until

SLOW_LOAD = """
    import time
    from pathlib import Path
    from colonnade import Model

    class Slow(Model):
        async def load(self):
            import asyncio
            while not self.path("go").exists():
                await asyncio.sleep(0.005)

        def predict(self, payload):
            return {"predictions": []}

        def unload(self):
            self.path("unloaded").touch()
"""


def test_the_sockets_answer_while_the_model_loads(start: Start) -> None:
    replica = start("--model-name", "m", code=SLOW_LOAD).listening()
    http = replica.http
    assert http.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v1/models/m", "/v2/models/m/ready", "/v2/models/m"):
        assert http.get(path).status_code == 503, path
    assert http.post("/v1/models/m:predict", json={}).json() == {"error": "Model with name m is not ready."}
    assert http.post("/v2/repository/index").json()[0]["state"] == "LOADING"
    assert replica.metric('model_ready{model_name="m"}') == 0
    (replica.folder / "go").touch()
    replica.ready()
    assert replica.metric('model_ready{model_name="m"}') == 1
    replica.signal()
    assert replica.wait() == 0
    assert (replica.folder / "unloaded").exists()


def test_a_signal_while_the_model_loads_ends_it(start: Start) -> None:
    code = """
        import time
        from colonnade import Model

        class Stuck(Model):
            def load(self):
                self.path("loading").touch()
                time.sleep(600)
    """
    replica = start("--model-name", "m", "--grace", "0.1", code=code).listening()
    until((replica.folder / "loading").exists, "the load")
    replica.signal()
    assert replica.wait() == 0


@pytest.mark.parametrize(
    ("load", "text"),
    [
        ("raise ValueError('weights are missing')", "ValueError: weights are missing at "),
        ("return False", "M.load returned False"),
        ("import sys; sys.exit(9)", "raised SystemExit"),
    ],
)
def test_a_failed_load_is_told_and_ends_with_3(start: Start, tmp_path: Path, load: str, text: str) -> None:
    file = tmp_path / "termination.json"
    code = f"""
        from colonnade import Model

        class M(Model):
            def load(self):
                {load}
    """
    replica = start("--model-name", "m", "--termination-file", str(file), code=code)
    assert replica.wait() == 3
    told = json.loads(file.read_text())
    assert (told["reason"], told["location"], told["exitCode"]) == ("ModelLoadFailed", "m", 3)
    assert text in told["message"]
    assert text in replica.stderr.read_text()


def test_a_missing_artefact_is_told_with_what_is_accepted(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "termination.json"
    replica = start("--model-name", "m", "--model-dir", str(tmp_path / "no"), "--termination-file", str(file))
    assert replica.wait() == 3
    message = json.loads(file.read_text())["message"]
    assert str(tmp_path / "no") in message
    assert ".joblib" in message


@pytest.mark.parametrize("made", ["Echo", "Echo('mine')"])
def test_a_script_serves_its_class_or_instance(start: Start, made: str) -> None:
    script = f"""
        import colonnade

        class Echo(colonnade.Model):
            def load(self):
                self.loads = getattr(self, "loads", 0) + 1

            def predict(self, payload):
                return {{"predictions": [self.name, self.loads, self.path("x").parent.name]}}

        if __name__ == "__main__":
            colonnade.serve({made})
    """
    replica = start("--model_name", "echo", "--their-own", "flag", script=script).ready()
    expected = {"predictions": ["echo", 1, replica.folder.name]}
    assert replica.http.post("/v1/models/echo:predict", json={}).json() == expected
    assert replica.http.post("/v2/repository/models/echo/load").status_code == 200
    assert replica.http.post("/v1/models/echo:predict", json={}).json() == expected
    replica.signal()
    assert replica.wait() == 0


def _server(folder: Path, *argv: str) -> subprocess.Popen[str]:
    (folder / "model.py").write_text(
        "from colonnade import Model\nclass M(Model):\n    def predict(self, x):\n        return {}\n"
    )
    command = [sys.executable, "-m", "colonnade.server", "--model-dir", str(folder), *argv]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_tcp_ports_and_a_taken_one(tmp_path: Path) -> None:
    with _server(tmp_path, "--http-port", "0", "--grpc-port", "0") as server:
        try:
            assert server.stderr is not None
            listening = json.loads(server.stderr.readline())
            assert httpx.get(f"http://{listening['http']}/v2/health/live", trust_env=False).json() == {"live": True}
            host, _, port = listening["grpc"].rpartition(":")
            socket.create_connection((host, int(port)), DEADLINE).close()
            for flag, taken in (("--http-port", listening["http"]), ("--grpc-port", listening["grpc"])):
                others = ["--http-port", "0"] if flag == "--grpc-port" else []
                with _server(tmp_path, *others, flag, taken.rpartition(":")[2]) as second:
                    assert second.wait(DEADLINE) == 1
                    assert second.stderr is not None
                    assert "cannot listen" in second.stderr.read()
        finally:
            server.terminate()
            assert server.wait(DEADLINE) == 0
