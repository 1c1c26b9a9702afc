"""This machine as a Node."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from colonnade.control.machine import node
from colonnade.control.machine.budget import Budget
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.platforms.budget import Machine
from colonnade.resources import columns, kinds


def test_what_is_claimed_of_what_may_be(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.create(Ref("", "nodes", "", "former"), {"apiVersion": "v1", "kind": "Node", "metadata": {}})
    machine = Machine((0, 1), 2000, 3 << 29, ("0", "1"), overcommit_cpu=4.0)
    budget = Budget(machine, lambda key: None, lambda: node.keep(store, budget))
    budget.adopt([])
    requests = {"cpu": "250m", "memory": "512Mi", "nvidia.com/gpu": 1}
    pod = {"metadata": {}, "spec": {"containers": [{"resources": {"requests": requests}}]}}
    budget.admit(Key("ns", "p"), pod)

    (found,) = store.list("", "nodes")[0]
    assert found["metadata"]["name"] == node.node_name()
    assert found["status"]["capacity"] == {"cpu": "2", "memory": "1.5Gi", "nvidia.com/gpu": "2"}
    assert found["status"]["allocatable"]["cpu"] == "8"
    row = columns.cells(kinds.NODE, found, datetime.now(UTC))
    assert row[1:5] == ["Ready", "250m/8", "512Mi/1.5Gi", "1/2"]
    budget.release(Key("ns", "p"))
    assert columns.cells(kinds.NODE, store.list("", "nodes")[0][0], datetime.now(UTC))[2] == "0/8"
    store.close()
