"""Runtimes as a user makes them: a command, its environment, its changes; and the real MLServer."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from ..runtimes.wheels import offline, wheel
from .product import Product, service, until

SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"ready": True})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        said = {"greeting": sys.argv[1], "model": sorted(os.listdir(os.environ["MODEL_DIR"]))}
        try:
            import greeting
            said["version"] = greeting.VERSION
        except ImportError:
            pass
        self.answer(said)
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
port = int(sys.argv[2].partition("=")[2])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "serve.py").write_text(SERVER)
    return tmp_path / "serve.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights.bin").write_text("w")
    return tmp_path / "m"


def runtime(name: str, form: str, command: list[str], **annotations: str) -> dict[str, Any]:
    container = {"name": "kserve-container", "command": command, "args": ["--http_port=8080"]}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"supportedModelFormats": [{"name": form, "autoSelect": True}], "containers": [container]},
    }


def model(form: str, uri: Path, **fields: Any) -> dict[str, Any]:
    return {"model": {"modelFormat": {"name": form}, "storageUri": str(uri), **fields}}


def said(product: Product, name: str) -> Any:
    return product.ask(name, "v1", {"instances": [1]}).json()


def status(product: Product, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(product.colonnade("get", "isvc", name, "-o", "json"))
    return (found["items"][0] if "items" in found else found).get("status") or {}


def test_a_runtime_is_a_command_and_its_change_a_revision(product: Product, script: Path, folder: Path) -> None:
    serve = ["python", str(script)]
    product.apply(runtime("greeter", "greeting", [*serve, "hello {{.Name}}"]), wait=False)
    product.apply(service("changes", model("greeting", folder)))
    kept = service("stays", model("greeting", folder))
    kept["metadata"]["annotations"] = {"serving.kserve.io/disable-auto-update": "true"}
    product.apply(kept)
    assert said(product, "changes") == {"greeting": "hello changes", "model": ["weights.bin"]}
    found = status(product, "changes")
    assert found["servingRuntimeName"] == "greeter"
    assert "clusterServingRuntimeName" not in found

    product.apply(runtime("greeter", "greeting", [*serve, "bye {{.Name}}"]), wait=False)
    until(lambda: said(product, "changes").get("greeting") == "bye changes", "the new runtime serves")
    latest = status(product, "changes")["components"]["predictor"]["latestRolledoutRevision"]
    assert latest == "changes-predictor-00002"
    assert said(product, "stays")["greeting"] == "hello stays"

    kept["spec"]["predictor"]["model"]["env"] = [{"name": "A", "value": "1"}]
    product.apply(kept)
    until(
        lambda: said(product, "stays").get("greeting") == "bye stays", "a change of the service takes the new runtime"
    )


def test_a_missing_runtime_is_waited_for(product: Product, script: Path, folder: Path) -> None:
    product.apply(service("early", model("later", folder, runtime="late")), wait=False)

    def failure() -> Any:
        return (status(product, "early").get("modelStatus") or {}).get("lastFailureInfo")

    until(failure, "the refusal is told")
    assert failure()["reason"] == "RuntimeNotRecognized"
    assert status(product, "early")["modelStatus"]["transitionStatus"] == "InvalidSpec"
    late = runtime("late", "later", ["python", str(script), "late"])
    product.apply({**late, "spec": {**late["spec"], "disabled": True}}, wait=False)
    until(lambda: failure()["reason"] == "RuntimeDisabled", "it is said to be disabled")
    product.apply(late, wait=False)
    until(lambda: said(product, "early").get("greeting") == "late", "it serves")


@pytest.mark.usefixtures("kubectl")
def test_a_built_in_runtime_is_replaced_and_comes_back(product: Product, script: Path, iris_model: Path) -> None:
    listed = product.kubectl("get", "clusterservingruntimes")
    assert "kserve-sklearnserver" in listed
    product.apply(service("iris", model("sklearn", iris_model)))
    assert status(product, "iris")["clusterServingRuntimeName"] == "kserve-sklearnserver"
    iris = {"instances": [[6.8, 2.8, 4.8, 1.4]]}
    assert product.ask("iris", "v1", iris).json() == {"predictions": [1]}

    container = {"name": "kserve-container", "command": ["python", str(script), "mine"], "args": ["--http_port=8080"]}
    patch = json.dumps({"spec": {"containers": [container]}})
    product.kubectl("patch", "clusterservingruntime", "kserve-sklearnserver", "--type=merge", "-p", patch)
    until(lambda: said(product, "iris").get("greeting") == "mine", "the replacement serves")
    product.kubectl("delete", "clusterservingruntime", "kserve-sklearnserver")
    until(lambda: product.ask("iris", "v1", iris).json() == {"predictions": [1]}, "the built-in one serves again")
    assert "kserve-sklearnserver" in product.kubectl("get", "clusterservingruntimes")


@pytest.mark.usefixtures("kubectl")
def test_two_runtimes_may_not_claim_the_same(product: Product) -> None:
    rival = runtime("rival", "sklearn", ["x"])
    rival["kind"] = "ClusterServingRuntime"
    del rival["metadata"]["namespace"]
    rival["spec"]["supportedModelFormats"] = [{"name": "sklearn", "version": "1", "autoSelect": True, "priority": 1}]
    rival["spec"]["protocolVersions"] = ["v1"]
    answer = product.kubectl("create", "-f", "-", code=1, data=json.dumps(rival))
    text = "same priority assigned for the model format sklearn in the clusterservingruntimes kserve-sklearnserver and"
    assert text in answer


def test_conflicting_requirements_serve_side_by_side(
    product: Product, script: Path, folder: Path, tmp_path: Path
) -> None:
    shelf = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        wheel(shelf, "greeting", version)
        needs = "\n".join((*offline(shelf), f"greeting=={version}"))
        name = f"needs-{version[0]}"
        command = ["python", str(script), name]
        product.apply(runtime(name, name, command, **{"colonnade.dev/requirements": needs}), wait=False)
        product.apply(service(name, model(name, folder)))
    assert [said(product, f"needs-{number}")["version"] for number in (1, 2)] == ["1.0", "2.0"]

    product.apply(runtime("plain", "plain", ["python", str(script), "plain"]), wait=False)
    missing = service("needs-9", model("plain", folder))
    lines = "\n".join((*offline(shelf), "greeting==9"))
    missing["metadata"]["annotations"] = {"colonnade.dev/requirements": lines}
    product.apply(missing, wait=False)
    until(lambda: (status(product, "needs-9").get("modelStatus") or {}).get("lastFailureInfo"), "the failure is told")
    failure = status(product, "needs-9")["modelStatus"]["lastFailureInfo"]
    assert failure["reason"] == "ModelLoadFailed"
    assert "greeting" in failure["message"]
    wheel(shelf, "greeting", "9")
    until(lambda: said(product, "needs-9").get("version") == "9", "it is tried again", timeout=90)


@pytest.mark.slow
def test_two_versions_of_scikit_learn_serve_side_by_side(
    product: Product, shared: Path, iris_model: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(shared / "models" / "sklearn-iris.joblib", old / "model.joblib")
    (old / "requirements.txt").write_text("scikit-learn==1.5.2\n")
    product.apply(service("old-iris", {"sklearn": {"storageUri": str(old)}}), wait=False)
    product.apply(service("new-iris", {"sklearn": {"storageUri": str(iris_model)}}))
    rows = {"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}

    def answer(name: str) -> httpx.Response:
        return product.ask(name, "v1", rows)

    until(lambda: answer("old-iris").status_code == 200, "its environment is made", timeout=300)
    assert answer("old-iris").json() == answer("new-iris").json() == {"predictions": [1, 1]}
    (installed,) = (product.state / "environments").glob("*/lib/*/site-packages/scikit_learn-1.5.2.dist-info")
    environment = installed.parents[3]
    running = [process.cmdline()[0] for process in product.processes("colonnade.server")]
    assert sum(str(environment) in word for word in running) == 1
    assert len(running) > 1


MLSERVER = "mlserver==1.7.1 mlserver-sklearn==1.7.1 scikit-learn==1.5.2 uvloop==0.21.0"


@pytest.mark.slow
def test_the_real_mlserver_serves(product: Product, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "iris"
    folder.mkdir()
    shutil.copy(shared / "models" / "sklearn-iris.joblib", folder / "model.joblib")
    real = runtime(
        "mlserver",
        "sklearn",
        ["mlserver", "start", "/mnt/models"],
        **{"colonnade.dev/requirements": MLSERVER, "serving.kserve.io/server-type": "mlserver"},
    )
    container = real["spec"]["containers"][0]
    del container["args"]
    container["env"] = [
        {"name": "MLSERVER_MODEL_IMPLEMENTATION", "value": "{{.Labels.modelClass}}"},
        {"name": "MLSERVER_HTTP_PORT", "value": "8080"},
        {"name": "MLSERVER_GRPC_PORT", "value": "9000"},
    ]
    real["spec"] |= {"protocolVersions": ["v2", "grpc-v2"], "supportedModelFormats": [{"name": "sklearn"}]}
    product.apply(real, wait=False)
    product.apply(service("ml", model("sklearn", folder, runtime="mlserver", protocolVersion="v2")), wait=False)
    body = json.loads((shared / "payloads" / "iris_input_v2.json").read_text())
    until(lambda: product.ask("ml", "v2", body).status_code == 200, "MLServer is there", timeout=400)
    answer = product.ask("ml", "v2", body)
    assert answer.headers["ce-source"].startswith("io.seldon"), "it is MLServer that answers"
    assert answer.json()["outputs"][0]["data"] == [1, 1]
    assert status(product, "ml")["servingRuntimeName"] == "mlserver"

    async def over_grpc() -> list[int]:
        options = [("grpc.default_authority", "ml-default.example.com")]
        client = InferenceGRPCClient(product.endpoints["grpc"], channel_args=options)
        tensor = InferInput("predict", [2, 4], "FP32", [6.8, 2.8, 4.8, 1.4, 6.0, 3.4, 4.5, 1.6])
        found = await client.infer(InferRequest(model_name="ml", infer_inputs=[tensor]))
        await client.close()
        return [int(value) for value in found.outputs[0].as_numpy().ravel()]

    assert asyncio.run(over_grpc()) == [1, 1]
