"""Ray Serve: one replica on the core, access log and dashboard off, the route under V2's path."""

from __future__ import annotations

import os
import signal
from typing import Any

from bench.peers.options import parse

os.environ.update(RAY_raylet_start_wait_time_s="60", RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")

import numpy as np
import ray
from ray import serve

from bench import work
from bench.peers import v2

options = parse()


@serve.deployment(num_replicas=1, max_ongoing_requests=200, ray_actor_options={"num_cpus": 0})
class Served:
    def __init__(self) -> None:
        self.run = work.load(options.model)

    @serve.batch(max_batch_size=options.batch_size or 1, batch_wait_timeout_s=options.batch_delay)
    async def together(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        results = self.run(np.concatenate(inputs))
        return [results[row : row + 1] for row in range(len(inputs))]

    async def __call__(self, request: Any) -> dict[str, Any]:
        rows = v2.decode(await request.json())
        return v2.encode(await self.together(rows) if options.batch_size else self.run(rows))


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"], "OMP_NUM_THREADS": "1"}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": options.port}, logging_config={"enable_access_log": False})
    serve.run(Served.bind(), name="model", route_prefix=options.path)
    signal.sigwait({signal.SIGTERM})
    ray.shutdown()
