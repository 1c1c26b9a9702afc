"""Finds each peer's best batching for each workload, so that none is compared at a bad setting.

    python -m bench.tune

Tries every setting in turn, and writes that with most requests per second to `tuned.json`, which the run reads.
BentoML's own dispatcher learns its waits, so for it the delay is the latency above which it sheds.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from bench import environments, machine, models
from bench.load import closed
from bench.machine import Unfit
from bench.servers import Batching, launch
from bench.workloads import WORKLOADS, Workload

TUNED = Path(__file__).parent / "tuned.json"
_QUEUED = [None, *(Batching(64, delay) for delay in (0.001, 0.005, 0.01))]
CANDIDATES: dict[str, list[Batching | None]] = {
    "mlserver": _QUEUED,
    "mlserver-parallel": _QUEUED,
    "litserve": _QUEUED,
    "bentoml": [None, Batching(64, 0.2), Batching(64, 1.0), Batching(64, 10.0)],
    "triton": [None, *(Batching(64, delay) for delay in (0.0, 0.001, 0.005, 0.01))],
}


def chosen(workload: str, server: str) -> Batching | None:
    """The setting that was found for this peer on this work; None is no batching."""
    found = json.loads(TUNED.read_text()).get(workload, {}).get(server) if TUNED.exists() else None
    return Batching(found["size"], found["delay"]) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description="find each peer's best batching")
    parser.add_argument("--workloads", default=",".join(name for name, work in WORKLOADS.items() if work.batched))
    parser.add_argument("--only", default=",".join(CANDIDATES), help="names of peers")
    parser.add_argument("--trials", type=int, default=2, help="of each setting; the worse one counts (default: 2)")
    parser.add_argument("--seconds", type=float, default=2, help="of each trial (default: 2)")
    given = parser.parse_args()
    environments.require_tools(["wrk", "h2load"])
    models.build()
    machine.take_load_core()
    machine.prepare()
    tuned = json.loads(TUNED.read_text()) if TUNED.exists() else {}
    for name in given.workloads.split(","):
        for server in given.only.split(","):
            if server not in WORKLOADS[name].servers:
                continue
            best = _best(WORKLOADS[name], server, given.trials, given.seconds)
            tuned.setdefault(name, {})[server] = best and {"size": best.size, "delay": best.delay}
            TUNED.write_text(json.dumps(tuned, indent=1) + "\n")


def _best(workload: Workload, server: str, trials: int, seconds: float) -> Batching | None:
    rates: dict[Batching | None, list[float]] = defaultdict(list)
    alone = 1 in workload.in_flight  # then a wait would only spoil the figure of the lone request
    candidates = [batching for batching in CANDIDATES[server] if not (alone and batching and batching.delay)]
    for _ in range(trials):
        for batching in candidates:
            try:
                rates[batching].append(_rate(workload, server, batching, seconds))
            except Unfit as reason:
                rates[batching].append(0.0)
                print(f"{workload.title}, {server}, {batching}: {reason}", flush=True)
    for batching, found in rates.items():
        shown = ", ".join(f"{rate:.0f}" for rate in found)
        print(f"{workload.title}, {server}, {batching or 'no batching'}: {shown} requests/s", flush=True)
    return max(rates, key=lambda batching: min(rates[batching]))


def _rate(workload: Workload, server: str, batching: Batching | None, seconds: float) -> float:
    request = workload.request(workload.served)
    with launch(server, models.MODELS / workload.model, request, batching=batching) as running:
        for length in (1, seconds):  # the first only warms
            in_flight, size = workload.in_flight[0], running.answer_bytes
            found = closed.run(request, running.port, running.headers, in_flight, length, size)
    return found.answers / found.seconds


if __name__ == "__main__":
    main()
