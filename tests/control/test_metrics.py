"""What the control plane tells of its decisions."""

from __future__ import annotations

from colonnade.autoscale.decision import Decision, State
from colonnade.control.metrics import ControlMetrics
from colonnade.control.scaling.autoscaler import Scaled, ScaleKey
from colonnade.platforms.pool import Standing

KEY = ScaleKey("ns", "iris", "predictor", "iris-predictor-00001")
LABELS = 'namespace="ns",service="iris",component="predictor",revision="iris-predictor-00001"'


def test_the_numbers_are_those_of_now() -> None:
    last = Decision(3, "a burst", True, {"stable": 1.5}, State(3, True, 0.0))
    scaled = [Scaled(KEY, 3, 1, 7, last)]
    parked = {"ns/iris": 5100}
    seeds = [Standing("sklearn", True, 2), Standing("sklearn", True, 1), Standing("onnx", False, 0)]
    metrics = ControlMetrics(lambda: scaled, lambda: parked, lambda: seeds)
    for _ in range(2):  # each scrape begins anew
        lines = metrics.render().decode().splitlines()
        assert [line for line in lines if not line.startswith("#")] == [
            f"colonnade_control_wanted_replicas{{{LABELS}}} 3",
            f"colonnade_control_ready_replicas{{{LABELS}}} 1",
            f"colonnade_control_held_requests{{{LABELS}}} 7",
            f"colonnade_control_panic{{{LABELS}}} 1",
            f'colonnade_control_scaled_by{{{LABELS},number="stable"}} 1.5',
            'colonnade_control_parked_bytes{namespace="ns",service="iris"} 5100',
            'colonnade_control_pool_seeds{seed="sklearn",state="ready"} 2',
            'colonnade_control_pool_seeds{seed="onnx",state="starting"} 1',
            'colonnade_control_pool_replicas{seed="sklearn"} 3',
            'colonnade_control_pool_replicas{seed="onnx"} 0',
        ]
    scaled.clear()
    parked.clear()
    seeds.clear()
    assert [line for line in metrics.render().decode().splitlines() if not line.startswith("#")] == []


def test_one_that_nothing_was_decided_of_has_no_numbers_yet() -> None:
    text = ControlMetrics(lambda: [Scaled(KEY, 1, 0, 0, None)], dict, list).render().decode()
    assert f"wanted_replicas{{{LABELS}}} 1" in text
    assert "panic{" not in text
