"""A transformer in its predictor's pod, on the running product: one replica, two processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .product import Product, service, signal_tree, until

FLOWER = [5.9, 3.0, 5.1, 1.8]
BODY = {"instances": [[value * 10 for value in FLOWER]]}
WANTED = {"predictions": [2]}

TENTHS = """
import colonnade

class Tenths(colonnade.Model):
    def preprocess(self, payload):
        return {"instances": [[value / 10 for value in row] for row in payload["instances"]]}

if __name__ == "__main__":
    colonnade.serve(Tenths)
"""


def collocated(folder: Path, name: str, model: Path) -> dict[str, Any]:
    (folder / "tenths.py").write_text(TENTHS)
    manifest = service(name, {"sklearn": {"storageUri": str(model), "args": ["--http_port=8085"]}})
    words = ["--model_name", name, "--http_port=8080", "--predictor_host=localhost:8085"]
    container = {"name": "transformer-container", "command": [sys.executable, str(folder / "tenths.py")], "args": words}
    manifest["spec"]["predictor"]["containers"] = [container]
    return manifest


def pod_of(product: Product, name: str) -> dict[str, Any]:
    found = json.loads(product.colonnade("get", "pods", "-o", "json"))["items"]
    (pod,) = [each for each in found if each["metadata"]["name"].startswith(f"{name}-predictor")]
    return dict(pod)


def restarts(product: Product, name: str) -> dict[str, int]:
    return {each["name"]: each["restartCount"] for each in pod_of(product, name)["status"]["containerStatuses"]}


def process(product: Product, word: str) -> int:
    """The one replica's process with this word on its command line."""
    (found,) = [each for each in product.processes() if any(word in part for part in each.cmdline())]
    return found.pid


def test_one_replica_of_two_processes(tmp_path: Path, iris_model: Path) -> None:
    product = Product(tmp_path / "state").start()
    try:
        product.apply(collocated(tmp_path, "pair", iris_model))
        assert product.ask("pair", "v1", BODY).json() == WANTED
        assert restarts(product, "pair") == {"transformer-container": 0, "kserve-container": 0}

        front, behind = process(product, "tenths.py"), process(product, "--runtime")
        signal_tree(behind)
        until(lambda: restarts(product, "pair")["kserve-container"] == 1, "the predictor is started again")
        until(lambda: product.ask("pair", "v1", BODY).status_code == 200, "answers by the new predictor")
        assert product.ask("pair", "v1", BODY).json() == WANTED
        assert process(product, "tenths.py") == front, "the transformer goes on, and finds the predictor where it was"

        behind = process(product, "--runtime")
        signal_tree(front)
        until(lambda: restarts(product, "pair")["transformer-container"] == 1, "the transformer is started again")
        until(lambda: product.ask("pair", "v1", BODY).status_code == 200, "answers by the new transformer")
        assert process(product, "--runtime") == behind, "the predictor goes on"

        product.kill_control_plane()
        assert product.ask("pair", "v1", BODY).json() == WANTED
        front = process(product, "tenths.py")
        product.start()
        until(lambda: pod_of(product, "pair")["status"]["phase"] == "Running", "the pod is known again")
        assert product.ask("pair", "v1", BODY).json() == WANTED
        assert (process(product, "tenths.py"), process(product, "--runtime")) == (front, behind), "both are adopted"

        product.colonnade("delete", "isvc", "pair")
        until(lambda: len(product.processes()) == 1, "both are gone, and the gateway is there")
    finally:
        product.stop()
