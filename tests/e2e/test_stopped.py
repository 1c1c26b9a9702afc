"""`serving.kserve.io/stop` on the running product: all components end, and come back as what they were."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx

from .product import Product, service, until
from .versions import Versions

STOP = "serving.kserve.io/stop"

PASSING = """
import json, os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREDICTOR = sys.argv[sys.argv.index("--predictor_host") + 1]

class Pass(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = urllib.request.Request(f"http://{PREDICTOR}{self.path}", body, {"content-type": "application/json"})
        self.answer({"passed": json.loads(urllib.request.urlopen(asked).read())["predictions"]})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Pass).serve_forever()
"""


def mark(product: Product, name: str, *, stopped: bool) -> None:
    value = "true" if stopped else "false"
    product.kubectl("annotate", "--overwrite", "isvc", name, f"{STOP}={value}")


def condition(product: Product, name: str, kind: str) -> str:
    found = json.loads(product.kubectl("get", "isvc", name, "-o", "json"))
    return {each["type"]: each["status"] for each in found["status"]["conditions"]}.get(kind, "")


def test_all_components_end_and_come_back_with_their_revisions(product: Product, iris_model: Path) -> None:
    manifest = service("chain", {"sklearn": {"storageUri": str(iris_model)}})
    container = {"name": "kserve-container", "command": [sys.executable, "-c", PASSING]}
    manifest["spec"]["transformer"] = {"containers": [container]}
    product.apply(manifest)
    body = {"instances": [[6.8, 2.8, 4.8, 1.4]]}
    assert product.ask("chain", "v1", body).json() == {"passed": [1]}
    revisions = product.kubectl("get", "controllerrevisions", "-o", "name")

    mark(product, "chain", stopped=True)
    until(lambda: condition(product, "chain", "Stopped") == "True", "stopped")
    until(lambda: product.kubectl("get", "pods", "-o", "name") == "", "all pods gone")
    assert condition(product, "chain", "Ready") == "False"
    answer = product.ask("chain", "v1", body)
    assert answer.status_code == 503
    assert STOP in answer.text

    mark(product, "chain", stopped=False)
    until(lambda: condition(product, "chain", "Ready") == "True", "ready again")
    assert condition(product, "chain", "Stopped") == "False"
    assert product.ask("chain", "v1", body).json() == {"passed": [1]}
    assert product.kubectl("get", "controllerrevisions", "-o", "name") == revisions
    product.colonnade("delete", "isvc", "chain")


def test_a_canary_has_its_share_again(product: Product, tmp_path: Path) -> None:
    versions = Versions(product, "halted", tmp_path)
    versions.apply(versions.predictor("one"))
    versions.apply(versions.predictor("two", canaryTrafficPercent=10))
    before = versions.shares
    mark(product, "halted", stopped=True)
    until(lambda: versions.condition("Stopped").get("status") == "True", "stopped")
    until(lambda: product.kubectl("get", "pods", "-o", "name") == "", "all pods gone")
    assert httpx.post(versions.url, json={"instances": [0]}).status_code == 503
    mark(product, "halted", stopped=False)
    until(lambda: versions.shares == before, "the shares of before")
    until(lambda: httpx.post(versions.url, json={"instances": [0]}, timeout=30).is_success, "answers again")
    until(lambda: versions.ask(100) == {"one": 90, "two": 10}, "split as before")
