"""The command line against a running platform."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import httpx
import joblib
import yaml

from .product import BIN, Product, service, until


def test_get_in_every_form(product: Product, iris_model: Path) -> None:
    product.apply(service("forms", {"sklearn": {"storageUri": str(iris_model)}}))
    assert product.colonnade("get", "isvc", "forms", "-o", "name") == "inferenceservice.serving.kserve.io/forms\n"
    as_json = json.loads(product.colonnade("get", "isvc", "forms", "-o", "json"))
    as_yaml = yaml.safe_load(product.colonnade("get", "isvc/forms", "-o", "yaml"))
    assert as_json["metadata"]["uid"] == as_yaml["metadata"]["uid"]
    table = product.colonnade("get", "isvc")
    assert re.search(r"forms\s+http://forms-default\.example\.com\s+True", table)
    assert "Events" in product.colonnade("describe", "isvc", "forms")
    assert "forms" in product.colonnade("logs", "forms")
    assert product.colonnade("why", "forms").strip() == "forms is Ready"
    assert "unchanged" in product.colonnade(
        "apply", "-f", "-", data=json.dumps(service("forms", {"sklearn": {"storageUri": str(iris_model)}}))
    )


def test_predict_in_every_protocol(product: Product, iris_model: Path, tmp_path: Path) -> None:
    product.apply(service("asked", {"sklearn": {"storageUri": str(iris_model)}}))
    v1 = tmp_path / "v1.json"
    v1.write_text('{"instances": [[6.8, 2.8, 4.8, 1.4]]}')
    assert json.loads(product.colonnade("predict", "asked", "--data", str(v1))) == {"predictions": [1]}
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [6.8, 2.8, 4.8, 1.4]}
    v2 = json.dumps({"inputs": [tensor]})
    assert json.loads(product.colonnade("predict", "asked", "--data", "-", data=v2))["outputs"][0]["data"] == [1]
    over_grpc = json.loads(product.colonnade("predict", "asked", "--protocol", "grpc", "--data", "-", data=v2))
    assert over_grpc["model_name"] == "asked"
    said = product.colonnade("predict", "nobody", "--data", str(v1), code=1)
    assert "asked" in said  # names what exists


def test_why_follows_a_missing_file_to_its_fix(product: Product, iris_model: Path) -> None:
    product.apply(service("lost", {"sklearn": {"storageUri": "/nowhere/model.joblib"}}), wait=False)
    said = until(lambda: explained(product, "lost", "/nowhere/model.joblib"), "why names the file")
    assert "What to do" in said
    assert "storageUri" in said
    product.apply(service("lost", {"sklearn": {"storageUri": str(iris_model)}}))
    product.colonnade("delete", "isvc", "lost")


def test_why_shows_exit_code_and_log_of_a_crash(product: Product) -> None:
    container = {"name": "kserve-container", "command": ["sh", "-c", "echo the disk is on fire; exit 7"]}
    product.apply(service("burning", {"containers": [container]}), wait=False)
    said = until(lambda: explained(product, "burning", "exit code 7"), "why names the exit code")
    assert "the disk is on fire" in said
    rows = product.colonnade("get", "pods")
    assert "burning" in rows
    answer = product.ask("burning", "v1", {"instances": [1]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    product.colonnade("delete", "isvc", "burning")


def test_a_pickle_that_would_run_a_command_is_refused_by_name(product: Product, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path}/sprung",)

    joblib.dump(Trap(), tmp_path / "model.joblib")
    product.apply(service("trap", {"sklearn": {"storageUri": str(tmp_path)}}), wait=False)
    said = until(lambda: explained(product, "trap", "system"), "why names the global")
    assert "colonnade.dev/trust-code" in said
    assert not (tmp_path / "sprung").exists()
    product.colonnade("delete", "isvc", "trap")


def explained(product: Product, name: str, wanted: str) -> str | None:
    ran = subprocess.run(
        [BIN / "colonnade", "why", name], env=product.environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode in (0, 4), ran.stderr
    return ran.stdout if ran.returncode == 4 and wanted in ran.stdout else None


def test_a_custom_command_runs_as_a_replica(product: Product) -> None:
    program = (
        "import http.server, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.answer(b'{\"ready\": true}')\n"
        "    def do_POST(self):\n"
        "        self.rfile.read(int(self.headers['content-length'])); self.answer(b'{\"predictions\": [42]}')\n"
        "    def answer(self, body):\n"
        "        self.send_response(200); self.send_header('content-type', 'application/json')\n"
        "        self.send_header('content-length', str(len(body))); self.end_headers(); self.wfile.write(body)\n"
        "    def log_message(self, *a): pass\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n"
    )
    container = {"name": "kserve-container", "image": "me/mine:1", "command": ["python3", "-c", program]}
    product.apply(service("custom", {"containers": [container]}))
    assert product.ask("custom", "v1", {"instances": [1]}).json() == {"predictions": [42]}


def test_an_unknown_image_is_refused_with_a_reason(product: Product) -> None:
    product.apply(service("boxed", {"containers": [{"name": "kserve-container", "image": "me/unknown:1"}]}), wait=False)
    said = until(lambda: explained(product, "boxed", "me/unknown:1"), "why names the image")
    assert "command" in said
    product.colonnade("delete", "isvc", "boxed")


def test_run_serves_a_file_in_one_command(iris_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "my_iris.joblib"
    model.write_bytes((iris_model / "model.joblib").read_bytes())
    words = ["run", str(model), "--http-port", "0", "--grpc-port", "0", "--api-port", "0"]
    process = subprocess.Popen([BIN / "colonnade", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = None
        for line in process.stdout:
            found = re.search(r"http://\S+:predict", line)
            if found:
                url = found[0]
                break
        assert url is not None
        assert "/my-iris/" in url
        assert httpx.post(url, json={"instances": [[6.8, 2.8, 4.8, 1.4]]}).json() == {"predictions": [1]}
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
