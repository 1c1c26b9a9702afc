"""A replica that is forked is served, adopted and ended as one that is started."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .product import Product, service, until

MODEL = """
import os
import colonnade
class Told(colonnade.Model):
    def load(self):
        pass
    def predict(self, payload: dict):
        return {"predictions": [os.getpid(), os.getppid()]}
"""
SEED = "colonnade.server.seed"


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path / "state", "--pool", "python").start()
    yield running
    assert running.stop() == 0
    assert not running.processes()


def asked(product: Product) -> tuple[int, int]:
    """The process that answered, and its parent."""
    answer = product.ask("told", "v1", {"instances": [0]})
    assert answer.status_code == 200, answer.text
    pid, parent = answer.json()["predictions"]
    return pid, parent


def test_a_fork_serves_on_without_its_platform_and_is_ended_by_the_next(forking: Product, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    until(lambda: "a seed is ready" in forking.log.read_text(), "the seed has its imports")
    (seed,) = forking.processes(SEED)
    predictor = {"model": {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path / "model.py")}}
    forking.apply(service("told", predictor, **{"colonnade.dev/trust-code": "true"}))
    pid, parent = asked(forking)
    assert (forking.replica_pids(), parent) == ([pid], seed.pid)

    forking.kill_control_plane()
    until(lambda: not psutil.pid_exists(seed.pid) or psutil.Process(seed.pid).status() == "zombie", "the seed ends")
    assert asked(forking)[0] == pid

    forking.start()
    assert asked(forking)[0] == pid, "it was adopted"
    until(lambda: forking.log.read_text().count("a seed is ready") == 2, "a new seed has its imports")
    os.kill(pid, signal.SIGKILL)
    (fresh,) = forking.processes(SEED)
    until(lambda: forking.replica_pids() not in ([], [pid]), "a new replica runs")
    assert until(lambda: _parent(forking), "it answers") == fresh.pid


def _parent(product: Product) -> int | None:
    answer = product.ask("told", "v1", {"instances": [0]})
    return answer.json()["predictions"][1] if answer.status_code == 200 else None
