"""A million requests later the gateway and the replicas hold no more memory than after the first of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .clients import IDENTITY, fleet
from .product import Product, service, until

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("MEMORY_REQUESTS", "1000000"))
WARM_UP = max(COUNT // 10, 10_000)
SHARE, ROOM = 0.05, 4 << 20  # growth that is no leak: of what was there, and in bytes
CACHE = "256Ki"  # small enough to be full after the warm-up
SETTLE = 2.0  # seconds for what the last connections held to go


def pss(pid: int) -> int:
    """Bytes of memory of a process, with its share of what it has in common with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("Pss:")]
    return int(line.split()[1]) << 10


def test_no_growth(product: Product, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(IDENTITY)
    model = {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}
    product.apply(service("plain", {"model": model}))
    product.apply(service("kept", {"model": model}, **{"colonnade.dev/response-cache": CACHE}))
    until(lambda: len(product.replica_pids()) == 2, "a replica of each runs")
    pids = {"gateway": product.gateway_pid()}
    pids |= {f"replica {number}": pid for number, pid in enumerate(product.replica_pids(), 1)}

    def after(requests: int, round: int) -> dict[str, int]:
        with fleet(product.endpoints, {"plain": False, "kept": True}, requests, cancels=True, round=round) as clients:
            clients.join()
        assert not clients.wrong
        assert clients.outcomes["answered"] >= requests
        time.sleep(SETTLE)
        return {name: pss(pid) for name, pid in pids.items()}

    warm = after(WARM_UP, 0)
    end = after(COUNT, 1)
    said = [f"{name}: {warm[name] / 2**20:.1f} MiB, then {end[name] / 2**20:.1f} MiB" for name in pids]
    print(f"\nafter {WARM_UP} and {COUNT} more requests: {'; '.join(said)}")
    assert [name for name in pids if end[name] > warm[name] * (1 + SHARE) + ROOM] == [], said
