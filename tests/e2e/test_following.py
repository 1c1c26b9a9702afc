"""Commands that go on: `logs -f`, `get -w`, `up` itself on a terminal and with manifests."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import yaml

from .product import BIN, Product, service, until

TALKER = (
    "import numpy as np\nimport colonnade\n\n\nclass Talker(colonnade.Model):\n"
    "    def predict(self, x: np.ndarray) -> np.ndarray:\n"
    "        print('asked for', x.tolist(), flush=True)\n        return x\n"
)


@contextmanager
def following(product: Product, *words: str) -> Iterator[IO[str]]:
    """A command of the product that runs until the block ends; its output."""
    process = subprocess.Popen(
        [BIN / "colonnade", *words],
        env=product.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def line_with(output: IO[str], words: str) -> str:
    """The next line that holds the words; the command must not end before."""
    for line in output:
        if words in line:
            return line
    raise AssertionError(f"the command ended without {words!r}")


def test_logs_are_followed(product: Product, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(TALKER)
    product.apply(service("talker", {"model": {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}}))
    with following(product, "logs", "-f", "talker") as output:
        for number in (1, 2):
            assert product.ask("talker", "v1", {"instances": [number]}).status_code == 200
            line_with(output, f"asked for [{number}]")


def test_changes_are_watched(product: Product, iris_model: Path) -> None:
    product.apply(service("watched", {"sklearn": {"storageUri": str(iris_model)}}))
    with following(product, "get", "isvc", "watched", "-w") as output:
        line_with(output, "watched-default.example.com")
        changed = service("watched", {"minReplicas": 2, "sklearn": {"storageUri": str(iris_model)}})
        product.apply(changed)
        assert "inferenceservice.serving.kserve.io/watched" in line_with(output, "modified")
        product.colonnade("delete", "isvc", "watched")
        line_with(output, "deleted")


@pytest.fixture
def folder(tmp_path: Path, iris_model: Path) -> Path:
    """A namespace and a service in it, in files that sort the wrong way round."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    isvc = service("iris", {"sklearn": {"storageUri": str(iris_model)}})
    isvc["metadata"]["namespace"] = "team"
    (manifests / "1-namespace.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n")
    (manifests / "2-isvc.yaml").write_text(yaml.safe_dump(isvc))
    return manifests


def test_up_applies_a_folder(tmp_path: Path, folder: Path) -> None:
    product = Product(tmp_path / "state", "-f", str(folder)).start()
    try:
        until(lambda: "True" in product.colonnade("get", "isvc", "-n", "team"), "the service is Ready")
    finally:
        assert product.stop() == 0


def test_up_refuses_an_unknown_field_and_leaves_nothing_behind(tmp_path: Path) -> None:
    manifest = tmp_path / "isvc.yaml"
    manifest.write_text(json.dumps(service("iris", {"sklearn": {"storagUri": "/models"}})))
    product = Product(tmp_path / "state")
    ports = ("--http-port", "0", "--grpc-port", "0", "--api-port", "0")
    assert "storagUri" in product.colonnade("up", *ports, "-f", str(manifest), code=1)
    assert not product.processes()


def test_logs_of_up_are_readable_on_a_terminal_and_json_elsewhere(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    product = Product(tmp_path / "state")
    words = [BIN / "colonnade", "up", "--http-port", "0", "--grpc-port", "0", "--api-port", "0"]
    process = subprocess.Popen(words, env=product.environment, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    shown = _all(leader)
    assert "started the gateway" in shown
    assert '{"time"' not in shown
    piped = Product(tmp_path / "piped").start()
    piped.stop()
    lines = [json.loads(line) for line in piped.log.read_text().splitlines()]
    assert "started the gateway" in {line["message"] for line in lines}
    assert all(re.fullmatch(r"debug|info|warning|error", line["level"]) for line in lines)


def _all(descriptor: int) -> str:
    """What was written to a terminal whose other end is closed."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # Linux says EIO at the end
        pass
    os.close(descriptor)
    return b"".join(parts).decode()
