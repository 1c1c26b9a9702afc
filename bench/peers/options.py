"""The flags that every peer's script takes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """How to serve.

    Attributes:
        model: the model's file, for `bench.work`.
        name: the name that requests use.
        port: of HTTP; the next ones are for gRPC and metrics.
        batch_size: rows of a batch, 0 for no batching.
        batch_delay: seconds that a request may wait for others.
        folder: for the files that the peer wants.
        workers: processes or instances that compute, where the peer has that choice.
    """

    model: str
    name: str
    port: int
    batch_size: int
    batch_delay: float
    folder: Path
    workers: int

    @property
    def path(self) -> str:
        return f"/v2/models/{self.name}/infer"


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--model", required=True)
    add("--name", required=True)
    add("--port", type=int, required=True)
    add("--batch-size", type=int, default=0)
    add("--batch-delay", type=float, default=0.0)
    add("--folder", type=Path, required=True)
    add("--workers", type=int, default=1)
    return Options(**vars(parser.parse_args(arguments)))
