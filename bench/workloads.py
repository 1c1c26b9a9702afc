"""What is asked of whom, and how a turn of one server is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench import measures
from bench.measures import Turn
from bench.requests import Request, floats_binary, floats_json, flower, flower_grpc
from bench.results import Figures

ORIGINAL = {"compile": "off"}  # scikit-learn's own predict
HTTP_PEERS = ("kserve", "mlserver", "mlserver-parallel", "litserve", "bentoml", "ray", "triton")


@dataclass(frozen=True)
class Workload:
    """A row of the comparison.

    Attributes:
        title: what it is, for the report.
        model: the file in the models' folder.
        request: makes the request, given the served model's name.
        servers: who takes part.
        in_flight: how many requests are in flight at a time, for each load of a turn.
        measure: makes a turn's figures.
        settings: ours, where the work asks for other than the defaults.
        batched: the peers' batching is worth a trial here.
        alone: each server runs only in its own turn; else all run, and the load goes from one to the next.
        rounds: more rounds than this are not worth their time, or None.
    """

    title: str
    model: str
    request: Callable[[str], Request]
    servers: tuple[str, ...]
    in_flight: tuple[int, ...] = ()
    measure: Callable[[Turn], Figures] = measures.closed
    settings: Mapping[str, str] = field(default_factory=dict)
    batched: bool = False
    alone: bool = False
    rounds: int | None = None

    @property
    def served(self) -> str:
        """The served model's name."""
        return self.model.partition(".")[0]


WORKLOADS: dict[str, Workload] = {
    "iris-onnx": Workload(
        "iris, ONNX Runtime, V2 JSON",
        "iris.onnx",
        flower,
        ("bare", "bare-batched", "replica", "gateway", *HTTP_PEERS),
        (64, 16, 1),
        batched=True,
    ),
    "iris-sklearn": Workload(
        "iris, scikit-learn's own predict, V2 JSON",
        "iris.joblib",
        flower,
        ("bare", "bare-batched", "replica", "gateway", *HTTP_PEERS),
        (64,),
        settings=ORIGINAL,
        batched=True,
    ),
    "binary": Workload(
        "602 KB FP32 as V2 binary",
        "mean.onnx",
        floats_binary,
        ("bare", "replica", "gateway", "kserve", "triton"),
        (16,),
    ),
    "floats": Workload(
        "150,528 floats as V2 JSON",
        "mean.onnx",
        floats_json,
        ("bare", "replica", "gateway", *HTTP_PEERS),
        (16,),
    ),
    "forest": Workload(
        "RandomForest of 100 trees, batching on, V2 JSON",
        "forest.joblib",
        flower,
        ("bare-batched", "replica", "gateway", "compiled", *HTTP_PEERS),
        (64,),
        settings=ORIGINAL,
        batched=True,
    ),
    "grpc": Workload(
        "gRPC ModelInfer, iris, ONNX Runtime",
        "iris.onnx",
        flower_grpc,
        ("bare-grpc", "replica", "gateway", "kserve", "mlserver", "mlserver-parallel", "triton"),
        (64,),
        batched=True,
    ),
    "overload": Workload(
        "overload at 3 × capacity, a Python class of 3 ms a call",
        "forest-class",
        flower,
        ("replica", "gateway"),
        (4,),
        measures.overload,
        settings={"queue-target": f"{measures.TARGET * 1000:g}"},
        alone=True,
        rounds=3,
    ),
    "idle": Workload(
        "idle, iris, ONNX Runtime",
        "iris.onnx",
        flower,
        ("replica", "gateway", *HTTP_PEERS),
        measure=measures.idle,
        alone=True,
        rounds=2,
    ),
    "cold-onnx": Workload(
        "cold start to the first 200, iris, ONNX Runtime",
        "iris.onnx",
        flower,
        ("bare", "replica"),
        measure=measures.cold,
        alone=True,
    ),
    "cold-sklearn": Workload(
        "cold start to the first 200, iris, scikit-learn",
        "iris.joblib",
        flower,
        ("bare", "replica"),
        measure=measures.cold,
        settings=ORIGINAL,
        alone=True,
    ),
}
