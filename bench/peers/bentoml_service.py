"""The services that BentoML serves: `bentoml_start` names them. BentoML has no V2 protocol, so the route is its own.

With batching on, the route itself is batchable, which spares the hop to a second service: BentoML joins the lists of
inputs of several requests, and gives each its part of the list of outputs.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import numpy as np

from bench import work
from bench.peers import v2

MODEL, PATH = os.environ["BENCH_MODEL"], os.environ["BENCH_PATH"]
SIZE, DELAY_MS = int(os.environ["BENCH_BATCH_SIZE"]), int(os.environ["BENCH_BATCH_DELAY_MS"])
SETTINGS = {
    "workers": 1,
    "traffic": {"timeout": 60, "max_concurrency": 1000},
    "logging": {"access": {"enabled": False}},
}

if SIZE:

    @bentoml.service(**SETTINGS)
    class Served:
        def __init__(self) -> None:
            self.run = work.load(MODEL)

        # Its dispatcher learns how long to wait and sheds what would be late, so the bound is generous.
        @bentoml.api(route=PATH, batchable=True, max_batch_size=SIZE, max_latency_ms=DELAY_MS)
        def infer(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
            results = self.run(np.concatenate([v2.decode({"inputs": [tensor]}) for tensor in inputs]))
            return [v2.encode(results[row : row + 1])["outputs"][0] for row in range(len(results))]

else:

    @bentoml.service(**SETTINGS)
    class Served:
        def __init__(self) -> None:
            self.run = work.load(MODEL)

        @bentoml.api(route=PATH)
        async def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            return v2.encode(self.run(v2.decode({"inputs": inputs})))
