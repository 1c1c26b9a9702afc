"""A request whose caller stops waiting: it is told in time, and what has not begun is not done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .replica import Replica, Start, until

# `predict` notes each row that it gets, and waits until the file is there. Rows may share a call.
CODE = """
    import time
    from pathlib import Path
    import numpy as np
    from colonnade import Model

    class Gated(Model):
        max_batch_size = {size}

        def predict(self, x: np.ndarray) -> np.ndarray:
            with Path("{gate}.rows").open("a") as rows:
                rows.write("x" * len(x))
            while not Path("{gate}").exists():
                time.sleep(0.005)
            return x
"""
HURRIED = {"x-envoy-expected-rq-timeout-ms": "100"}
V2 = "/v2/models/m/infer"


def body(**fields: object) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}], **fields}


@pytest.mark.parametrize("size", [0, 8])
async def test_what_waits_beyond_its_deadline_is_refused_and_not_done(start: Start, tmp_path: Path, size: int) -> None:
    gate = tmp_path / "gate"
    rows = tmp_path / "gate.rows"
    replica: Replica = start("--model-name", "m", code=CODE.format(gate=gate, size=size)).ready()
    async with replica.async_client() as client:
        first = asyncio.create_task(client.post(V2, json=body()))
        await asyncio.to_thread(until, rows.exists, "the first prediction")
        by_header = [client.post(V2, json=body(), headers=HURRIED) for _ in range(3)]
        by_parameter = client.post(V2, json=body(parameters={"timeout": 100_000}))
        over_v1 = client.post("/v1/models/m:predict", json={"instances": [[1]]}, headers=HURRIED)
        answers = await asyncio.gather(*by_header, by_parameter, over_v1)
        assert [answer.status_code for answer in answers] == [504] * 5
        assert not first.done(), "they were told while the model was still busy"
        gate.touch()
        assert (await first).status_code == 200
        assert (await client.post(V2, json=body())).status_code == 200
    assert rows.read_text() == "xx"
    assert replica.metric('requests_queued{model_name="m"}') == 0


async def test_who_waits_for_a_run_is_told_at_its_deadline(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    replica: Replica = start("--model-name", "m", code=CODE.format(gate=gate, size=8)).ready()
    async with replica.async_client() as client:
        late = await client.post(V2, json=body(), headers=HURRIED)
        assert late.status_code == 504
        assert "deadline passed" in late.json()["error"]
        gate.touch()
        assert (await client.post(V2, json=body())).status_code == 200


def test_a_deadline_that_has_passed(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    replica: Replica = start("--model-name", "m", code=CODE.format(gate=gate, size=8)).ready()
    answer = replica.http.post(V2, json=body(), headers={"x-envoy-expected-rq-timeout-ms": "0"})
    assert answer.status_code == 504
    assert not (tmp_path / "gate.rows").exists()


def test_a_length_that_no_body_has_is_refused_and_counted(start: Start, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    replica: Replica = start("--model-name", "m", code=CODE.format(gate=tmp_path / "gate", size=8)).ready()
    for digits in (19, 5000):
        headers = {"inference-header-content-length": "9" * digits}
        assert replica.http.post(V2, content=b"x" * 70_000, headers=headers).status_code == 400
    assert replica.metric('requests_in_flight{model_name="m"}') == 0
