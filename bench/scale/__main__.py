"""Runs the parts, keeps their figures and writes the report."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench import machine
from bench.machine import ROOT, WORK
from bench.scale import cold, many, models, step

FIGURES = WORK / "scale.json"
REPORT = ROOT / "bench" / "SCALE.md"
PARTS = ("cold", "step", "many")


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that platforms end with the run
    WORK.mkdir(exist_ok=True)
    machine.prepare()
    found: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    made = models.build()
    for part in given.parts or PARTS:
        found[part] = run(part, made, quick=given.quick)
        FIGURES.write_text(json.dumps(found))
    text = report(found)
    print(text)
    if set(found) == set(PARTS):
        REPORT.write_text(text)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description="cold starts, a step, a thousand services"
    )
    parser.add_argument("parts", nargs="*", choices=PARTS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="6 starts, shorter loads")
    return parser.parse_args()


def run(part: str, made: dict[str, Path], *, quick: bool) -> Any:
    """The figures of one part."""
    if part == "cold":
        starts = 6 if quick else 20
        return {
            f"{name}, {'with' if pool else 'without'} the pool": cold.measure(made[name], starts, pool)
            for name in ("iris", "iris-onnx", "big")
            for pool in (False, True)
        }
    if part == "step":
        return step.measure(made["slow"], before=5, after=25 if quick else 60)
    return many.measure(made["iris-onnx"], 1000, 20, 20 if quick else 60)


def report(found: dict[str, Any]) -> str:
    """All figures that are kept, in Markdown."""
    lines = ["# Results of `make bench-scale`", "", f"{machine.describe()}.", ""]
    if "cold" in found:
        lines += [
            "## Cold starts",
            "",
            "From a request to a service without a replica to its answer, against the bare process that imports, loads "
            "and computes once; the ratio is that of pairs, median (range). Goals: 1.3 without, 0.35 with the pool.",
            "",
            "| model | starts | p50, s | p95, s | bare p50, s | ratio |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_cold_row(name, figures) for name, figures in found["cold"].items()]
    if "step" in found:
        figures = found["step"]
        lines += [
            "",
            "## A step of the load, 1x to 8x",
            "",
            f"A model of {figures['service.s'] * 1000:g} ms a request; the objective is 95 % within "
            f"{step.OBJECTIVE:g} s. It holds again {figures['recovery.s']:g} s after the step, with "
            f"{figures['replicas']:g} replicas; {figures['lost']:g} of {figures['requests']:g} requests were lost.",
        ]
    if "many" in found:
        figures = found["many"]
        lines += [
            "",
            "## A thousand services, twenty of which run, idle",
            "",
            f"Declared in {figures['declare.s']:.1f} s, all Ready {figures['ready.s']:.1f} s later. "
            "Goals: control plane under 100 MB and under 3 % of a core.",
            "",
            "| process | PSS, MB | % of a core |",
            "|---|---|---|",
        ]
        lines += [
            f"| {name} | {figures[f'{name}.pss']:.1f} | {figures[f'{name}.core']:.2f} |"
            for name in ("control plane", "gateway")
        ]
    return "\n".join(lines) + "\n"


def _cold_row(name: str, figures: dict[str, list[float]]) -> str:
    starts, bare = figures["cold"], figures["bare"]
    ratios = sorted(one / other for one, other in zip(starts, bare, strict=True))
    p95 = quantiles(starts, n=20)[-1]
    shown = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {name} | {len(starts)} | {median(starts):.3f} | {p95:.3f} | {median(bare):.3f} | {shown} |"


if __name__ == "__main__":
    sys.exit(main())
