"""`batcher:` before a program of the user's, on the running product."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from .product import Product, signal_tree, until

MOST, CALLERS = 8, 24
PROGRAM = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {"ready": True})

    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"]
        with open(sys.argv[1], "a") as file:
            file.write(f"{len(rows)}\\n")
        time.sleep(0.05)
        self.answer(200, {"predictions": [row[0] * 2 for row in rows]})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_a_program_gets_joined_requests(product: Product, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    record = tmp_path / "asked"
    command = [sys.executable, str(tmp_path / "main.py"), str(record)]
    predictor = {"containers": [{"name": "c", "command": command}], "batcher": {"maxBatchSize": MOST}}
    predictor["containerConcurrency"] = 0
    product.apply(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "double"},
            "spec": {"predictor": predictor},
        }
    )
    url = f"{product.http}/serving/default/double/v1/models/double:predict"

    def ask(number: int) -> list[int]:
        answer = httpx.post(url, json={"instances": [[number]]}, timeout=30)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["predictions"])

    with ThreadPoolExecutor(CALLERS) as callers:
        assert list(callers.map(ask, range(CALLERS))) == [[number * 2] for number in range(CALLERS)]
    sizes = [int(line) for line in record.read_text().splitlines()]
    assert sum(sizes) == CALLERS
    assert max(sizes) in range(2, MOST + 1)

    (pod,) = json.loads(product.colonnade("get", "pods", "-o", "json"))["items"]
    assert [each["name"] for each in pod["spec"]["containers"]] == ["agent", "kserve-container"]
    (agent,) = product.processes("colonnade.server.batchproxy")
    signal_tree(agent.pid)
    until(lambda: httpx.post(url, json={"instances": [[1]]}, timeout=30).status_code == 200, "it is started again")
    product.colonnade("delete", "isvc", "double")
    until(lambda: len(product.processes()) == 1, "both processes are gone")
