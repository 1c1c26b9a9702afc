"""KServe's sample graphs with real models behind them, through the running product, asked as KServe's users ask."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from kserve import KServeClient
from kubernetes import client as kubernetes

from colonnade.net import Address, Upstream

from .product import Product, service, until

IRIS = {"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}
FILES = {"sklearn-iris": "sklearn-iris.joblib", "xgboost-iris": "xgboost-iris.json"}

TARGET = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({"target": os.environ["target"], "path": self.path}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *words):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""

DOUBLE = """
import colonnade

class Counter(colonnade.Model):
    def predict(self, payload: dict):
        return {"predictions": [payload["instances"][0] * 2]}
"""


def samples(shared: Path, name: str) -> list[dict[str, Any]]:
    """The documents of a sample, with models of this machine and this machine's domain."""
    text = (shared / "samples" / name).read_text().replace("{$your-domain}", "example.com")
    found = [document for document in yaml.safe_load_all(text) if document]
    for document in found:
        predictor = document["spec"].get("predictor", {})
        for key in ("sklearn", "xgboost"):
            if key in predictor:
                predictor[key]["storageUri"] = str(shared / "models" / FILES[document["metadata"]["name"]])
        for container in predictor.get("containers", ()):
            container["command"] = [sys.executable, "-c", TARGET]
    return found


def apply(product: Product, *documents: dict[str, Any]) -> None:
    product.colonnade("apply", "-f", "-", data="\n---\n".join(map(json.dumps, documents)))


def graph(name: str, *steps: dict[str, Any], kind: str = "Sequence", **annotations: str) -> dict[str, Any]:
    noted = {f"colonnade.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": name, "annotations": noted},
        "spec": {"nodes": {"root": {"routerType": kind, "steps": list(steps)}}},
    }


def ready(product: Product, name: str) -> str:
    """Wait for a graph; its URL."""
    client = KServeClient(config_file=str(product.state / "kubeconfig"))

    def state() -> Any:
        return client.get_inference_graph(name, namespace="default")

    try:
        until(lambda: client.is_ig_ready(name, namespace="default"), f"{name} ready")
    except AssertionError as error:
        raise AssertionError(f"{error}: {state()}") from None
    return str(state()["status"]["url"])


def ask(product: Product, url: str, body: Any, **options: Any) -> httpx.Response:
    host = url.removeprefix("http://")
    return httpx.post(product.http, json=body, headers={"host": host}, timeout=30, **options)


@pytest.fixture(scope="module")
def iris(product: Product, iris_model: Path) -> str:
    product.apply(service("iris", {"sklearn": {"storageUri": str(iris_model)}}))
    return "iris"


def test_kserves_sequence(product: Product, shared: Path) -> None:
    apply(product, *samples(shared, "graph_sequence.yaml"))
    answer = ask(product, ready(product, "model-chainer"), IRIS)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [1, 1]})


def test_kserves_ensemble(product: Product, shared: Path) -> None:
    apply(product, *samples(shared, "graph_ensemble.yaml"))
    answer = ask(product, ready(product, "ensemble-model"), IRIS)
    told = {"sklearn-iris": {"predictions": [1, 1]}, "xgboost-iris": {"predictions": [1, 1]}}
    assert (answer.status_code, answer.json()) == (200, told)


def test_kserves_switch(product: Product, shared: Path) -> None:
    apply(product, *samples(shared, "graph_switch.yaml"))
    url = ready(product, "model-switch")
    for name in ("single-1", "single-2", "single-3"):
        host = f"{name}.default.example.com"
        until(lambda host=host: ask(product, host, {}).status_code == 200, f"{name} ready")
    for body, target in (
        ({"source": "client"}, "single-1"),
        ({"instances": [{"intval": 3}, {"intval": 11}]}, "single-2"),
        ({"instances": [{"strval": "the-red-server-7"}]}, "single-3"),
    ):
        assert ask(product, url, body).json() == {"target": target, "path": "/switch"}
    answer = ask(product, url, {"instances": []})
    cause = "None of the routes matched with the switch condition"
    assert (answer.status_code, answer.json()) == (404, {"error": "Failed to process request", "cause": cause})


def test_kubectl_shows_graphs(product: Product, iris: str, kubectl: None) -> None:
    apply(product, graph("shown", {"serviceName": "iris"}))
    url = ready(product, "shown")
    table = product.kubectl("get", "ig")
    assert table.splitlines()[0].split() == ["NAME", "URL", "READY", "AGE"]
    assert ["shown", url, "True"] in [line.split()[:3] for line in table.splitlines()]
    product.kubectl("patch", "ig", "shown", "--type=merge", "-p", '{"spec":{"timeout":7}}')
    product.kubectl("delete", "ig", "shown")
    until(lambda: ask(product, url, IRIS).status_code == 405, "the host unknown, and so the gateway's own")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"nodes": {"one": {"routerType": "Sequence", "steps": [{"serviceName": "a"}]}}}, "root node not found"),
        ({"nodes": {"root": {"routerType": "Sequence", "steps": [{"nodeName": "root"}]}}}, "lead back to where they"),
        ({"nodes": {"root": {"routerType": "Loop", "steps": [{"serviceName": "a"}]}}}, "routerType"),
    ],
)
def test_what_is_no_graph_is_refused(product: Product, spec: dict[str, Any], text: str) -> None:
    obj = graph("refused") | {"spec": spec}
    assert text in product.colonnade("apply", "-f", "-", data=json.dumps(obj), code=1)


@pytest.mark.slow
def test_the_protocol_of_the_service_is_spoken(product: Product, iris_model: Path) -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": str(iris_model), "protocolVersion": "v2"}
    product.apply(service("iris-v2", {"model": model}))
    apply(product, graph("flow-v2", {"serviceName": "iris-v2"}))
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": IRIS["instances"][0]}
    answer = ask(product, ready(product, "flow-v2"), {"inputs": [tensor]})
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [1]), answer.text


def test_a_graph_waits_for_its_services_and_tells_so(product: Product, iris_model: Path) -> None:
    apply(product, graph("early", {"serviceName": "late"}))
    api = KServeClient(config_file=str(product.state / "kubeconfig"))

    def why() -> tuple[str, str]:
        found: Any = api.get_inference_graph("early", namespace="default")
        conditions = found.get("status", {}).get("conditions", [])
        return next(((one["status"], one.get("message", "")) for one in conditions if one["type"] == "Ready"), ("", ""))

    until(lambda: why() == ("False", "Failed to find graph service late"), "told what is missing")
    said = product.colonnade("why", "early", code=4)
    assert "service late, namespace: there is no InferenceService of this name" in said
    late = service("late", {"sklearn": {"storageUri": str(iris_model)}})
    documents = "\n---\n".join(map(json.dumps, [graph("early", {"serviceName": "late"}), late]))
    assert "inferencegraph" in product.colonnade("apply", "--wait", "-f", "-", data=documents)
    assert product.colonnade("why", "early").strip() == "early is Ready"
    assert "/early" in product.colonnade("get", "ig", "early")
    assert ask(product, ready(product, "early"), IRIS).json() == {"predictions": [1, 1]}


def test_a_name_that_a_service_has_is_not_the_graphs(product: Product, iris: str) -> None:
    apply(product, graph("iris", {"serviceName": "iris"}))
    api = kubernetes.CustomObjectsApi(
        KServeClient(config_file=str(product.state / "kubeconfig")).api_instance.api_client
    )

    def reasons() -> list[str]:
        found: Any = api.get_namespaced_custom_object(
            "serving.kserve.io", "v1alpha1", "default", "inferencegraphs", "iris"
        )
        return [one.get("reason", "") for one in found.get("status", {}).get("conditions", [])]

    until(lambda: "NameTaken" in reasons(), "the conflict told")
    product.colonnade("apply", "--wait", "-f", "-", code=4, data=json.dumps(graph("iris", {"serviceName": "iris"})))
    assert "rename one of them" in product.colonnade("why", "ig/iris", code=4)
    assert product.ask("iris", "v1", IRIS).status_code == 200


def test_headers_are_passed_on_as_kserves_settings_say(product: Product) -> None:
    echo = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
    product.apply(
        service("echo", {"containers": [{"name": "kserve-container", "command": [sys.executable, "-c", echo]}]})
    )
    apply(product, graph("headers", {"serviceName": "echo"}))
    url = ready(product, "headers")
    host = url.removeprefix("http://")

    def seen() -> Any:
        sent = {"host": host, "X-Tenant-Id": "7", "X-Other": "1", "x-request-id": "mine"}
        return httpx.post(product.http, json={}, headers=sent).json()

    assert {"x-tenant-id", "x-other"}.isdisjoint(seen())
    assert seen()["x-request-id"] == "mine"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
        "data": {"router": json.dumps({"headers": {"propagate": ["^X-Tenant-"]}})},
    }
    apply(product, space, settings)
    until(lambda: "x-tenant-id" in seen(), "the header passed on")
    assert "x-other" not in seen()


@pytest.mark.slow
def test_a_step_whose_replica_dies(product: Product, iris: str, iris_model: Path) -> None:
    product.apply(service("mortal", {"sklearn": {"storageUri": str(iris_model)}}))
    steps = ({"serviceName": "mortal"}, {"serviceName": "iris", "data": "$request"})
    apply(product, graph("dying", *steps, step_retries="10"))
    url = ready(product, "dying")
    assert ask(product, url, IRIS).status_code == 200
    for process in product.processes("colonnade.server"):
        if "mortal" in " ".join(process.cmdline()):
            process.kill()
            psutil.wait_procs([process], timeout=10)
    answer = ask(product, url, IRIS)
    assert answer.status_code in (200, 500), answer.text  # no answer of a step that is dead is an error of the graph
    if answer.status_code == 500:
        assert answer.json()["error"] == "Failed to process request"
    until(lambda: ask(product, url, IRIS).status_code == 200, "the graph well again")


def test_the_gateway_keeps_graphs_when_the_control_plane_dies(product: Product, iris: str) -> None:
    apply(product, graph("lasting", {"serviceName": "iris"}))
    url = ready(product, "lasting")
    endpoint = product.http
    product.kill_control_plane()
    host = url.removeprefix("http://")
    answer = httpx.post(endpoint, json=IRIS, headers={"host": host}, timeout=30)
    assert answer.json() == {"predictions": [1, 1]}
    product.start()
    assert ask(product, ready(product, "lasting"), IRIS).status_code == 200


@pytest.mark.slow
def test_a_thousand_at_once_get_their_own_answers(product: Product, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(DOUBLE)
    model = {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}
    product.apply(
        service("double", {"model": model}, **{"colonnade.dev/max-queue": "2000"})
    )  # one asks it twice at once
    nodes = {
        "root": {
            "routerType": "Sequence",
            "steps": [
                {"serviceName": "double"},
                {"nodeName": "both", "data": "$response", "mapPredictionsToInstances": True},
            ],
        },
        "both": {
            "routerType": "Ensemble",
            "steps": [{"serviceName": "double", "name": "x"}, {"serviceName": "double", "name": "y"}],
        },
    }
    apply(product, graph("pairs") | {"spec": {"nodes": nodes}})
    url = ready(product, "pairs")

    async def all_of_them() -> None:
        client = Upstream(Address.parse(product.http.removeprefix("http://")))
        fields = [(b"host", url.removeprefix("http://").encode())]

        async def one(number: int) -> None:
            body = json.dumps({"instances": [number]}).encode()
            answer = await client.fetch("POST", "/", fields, body, timeout=60)
            expected = {"predictions": [number * 4]}
            assert (answer.status, json.loads(answer.body)) == (200, {"x": expected, "y": expected})

        await asyncio.gather(*map(one, range(1000)))
        client.close()

    asyncio.run(all_of_them())
