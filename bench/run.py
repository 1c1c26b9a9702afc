"""The comparison: every server in turn, round after round, one report.

    python -m bench.run                  all of it, into RESULTS.md
    python -m bench.run --quick          three rounds of one second
    python -m bench.run --workloads grpc --only replica,triton     a part; RESULTS.md is then not written

All servers of a workload run at once, and a round loads one after the other, so that figures of a round are neighbours
in time. A server that fails is reported with its reason and does not stop the run.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack

from bench import environments, machine, models, profile, report, results, tune
from bench.machine import WORK, Unfit
from bench.measures import Turn
from bench.results import Series
from bench.servers import SERVERS, Running, launch
from bench.workloads import WORKLOADS, Workload


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end with the run
    environments.require_tools(["wrk", "h2load"])
    WORK.mkdir(exist_ok=True)
    models.build()
    machine.take_load_core()
    machine.prepare()
    found = results.load(report.FIGURES) if given.resume else {}
    for name in given.workloads.split(","):
        found[name] = measure(name, WORKLOADS[name], given)
        if not given.only:
            results.save(report.FIGURES, found)
    whole = not given.only and set(found) == set(WORKLOADS)
    profiled = profile.measure() if whole else None
    print(report.render(found, profiled))
    if whole:
        report.write(found, profiled)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="us and the peers side by side")
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2, help="of load per figure (default: 2)")
    add("--overload-seconds", type=float, default=30, help="of an overload (default: 30)")
    add("--workloads", default=",".join(WORKLOADS), help="names, with commas (default: all)")
    add("--only", default="", help="names of servers, with commas; no report is written then")
    add("--with", dest="extra", default="", help="ray: Ray Serve, too, which is slow to start and busy while idle")
    add("--resume", action="store_true", help="keep the last run's figures of the workloads that are not named")
    add("--quick", action="store_true", help="3 rounds of 1 s, overload for 10 s")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.overload_seconds = 3, 1, 10
    return given


def measure(name: str, workload: Workload, given: argparse.Namespace) -> Series:
    """All rounds of one workload."""
    series = Series(date=time.strftime("%Y-%m-%d %H:%M"), seconds=given.seconds)
    wanted = given.only.split(",") if given.only else list(workload.servers)
    chosen = [
        server
        for server in workload.servers
        if server in wanted and (server != "ray" or given.extra == "ray" or given.only)
    ]
    request = workload.request(workload.served)
    model = models.MODELS / workload.model
    started: dict[str, Running] = {}

    def start(server: str, stack: ExitStack) -> Running:
        batching = tune.chosen(name, server) if workload.batched else None
        if workload.batched and SERVERS[server].environment:
            series.settings[server] = f"batching {batching or 'off'}"
        own = {"compile": "require"} if server == "compiled" else workload.settings
        return stack.enter_context(launch(server, model, request, settings=own, batching=batching))

    def turn(server: str, running: Running) -> None:
        at = Turn(running, model, request, workload.in_flight, given.seconds, given.overload_seconds)
        figures = workload.measure(at)
        series.rounds[-1][server] = figures
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        print(f"{name} round {len(series.rounds)} {server}: {shown}", flush=True)

    def unfit(server: str, reason: Unfit) -> None:
        series.failures[server] = str(reason)
        print(f"{name} {server}: {reason}", flush=True)

    with ExitStack() as all_servers:
        for server in chosen:
            if not workload.alone and not SERVERS[server].alone:
                try:
                    started[server] = start(server, all_servers)
                except Unfit as reason:
                    unfit(server, reason)
        for _ in range(min(given.rounds, workload.rounds or given.rounds)):
            series.rounds.append({})
            series.calibration_ms.append(machine.calibration_ms())
            for server in chosen:
                try:
                    if server in started:
                        turn(server, started[server])
                    elif workload.alone or SERVERS[server].alone:
                        with ExitStack() as own:
                            turn(server, start(server, own))
                except Unfit as reason:
                    unfit(server, reason)
    return series


if __name__ == "__main__":
    raise SystemExit(main())
