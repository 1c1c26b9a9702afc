"""LitServe: one worker process, as the core is one, and a JSON route of its own under V2's path."""

from __future__ import annotations

from typing import Any

import litserve
import numpy as np

from bench import work
from bench.peers import v2
from bench.peers.options import parse


class Served(litserve.LitAPI):
    def __init__(self, model: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.model = model

    def setup(self, device: str) -> None:
        self.run = work.load(self.model)

    def decode_request(self, request: dict) -> np.ndarray:
        return v2.decode(request)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.run(rows)

    def encode_response(self, output: np.ndarray) -> dict:
        return v2.encode(output)


class Batched(Served):
    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(inputs)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return [output[row : row + 1] for row in range(len(output))]


if __name__ == "__main__":
    options = parse()
    if options.batch_size:
        batching = {"max_batch_size": options.batch_size, "batch_timeout": options.batch_delay}
        api = Batched(options.model, api_path=options.path, **batching)
    else:
        api = Served(options.model, api_path=options.path)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")
