"""Each answer belongs to its question: over every protocol, with batches, a cache, cancelled calls, killed replicas."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from .clients import IDENTITY, fleet
from .product import Product, service, until

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("PAIRING_REQUESTS", "1000000"))
KILL_EVERY = 5.0  # seconds
FAILED_SHARE = 0.01  # of what was asked may get no good answer for the killed replicas' sake


def test_no_answer_of_another_request(product: Product, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(IDENTITY)
    model = {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}
    product.apply(service("plain", {"minReplicas": 2, "model": model}))
    product.apply(service("kept", {"minReplicas": 2, "model": model}, **{"colonnade.dev/response-cache": "16Mi"}))
    until(lambda: len(product.replica_pids()) == 4, "two replicas of each run")
    rng = random.Random(20261123)
    killed = 0
    next_kill = time.monotonic() + KILL_EVERY
    with fleet(product.endpoints, {"plain": False, "kept": True}, COUNT, cancels=True) as clients:
        while clients.busy:
            if time.monotonic() >= next_kill and len(product.replica_pids()) == 4:
                os.kill(rng.choice(product.replica_pids()), signal.SIGKILL)
                killed += 1
                next_kill = time.monotonic() + KILL_EVERY
            time.sleep(0.2)
        clients.join()
    outcomes = clients.outcomes
    failed = sum(count for outcome, count in outcomes.items() if outcome.startswith("failed"))
    print(f"\n{killed} replicas killed, wrong answers: {len(clients.wrong)}, {dict(outcomes)}")
    assert not clients.wrong
    assert outcomes["answered"] >= COUNT
    assert outcomes["cached"]
    assert outcomes["cancelled"]
    assert killed
    assert failed <= FAILED_SHARE * outcomes["answered"] + 100
