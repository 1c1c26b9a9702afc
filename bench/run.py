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
        found[name] = Comparison(name, WORKLOADS[name], given).run()
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


class Comparison:
    """All rounds of one workload."""

    def __init__(self, name: str, workload: Workload, given: argparse.Namespace) -> None:
        self._name = name
        self._workload = workload
        self._given = given
        self._request = workload.request(workload.served)
        self._series = Series(date=time.strftime("%Y-%m-%d %H:%M"), seconds=given.seconds)
        self._chosen = [server for server in workload.servers if self._takes_part(server)]

    def run(self) -> Series:
        """The figures of all rounds; a server that gives none is named with the reason."""
        given, workload, series = self._given, self._workload, self._series
        with ExitStack() as stack:
            running = {server: self._start(server, stack) for server in self._chosen if not self._alone(server)}
            for _ in range(min(given.rounds, workload.rounds or given.rounds)):
                series.rounds.append({})
                series.calibration_ms.append(machine.calibration_ms())
                for server in self._chosen:
                    with ExitStack() as own:
                        at = self._start(server, own) if self._alone(server) else running[server]
                        if at is not None:
                            self._turn(server, at)
        return series

    def _takes_part(self, server: str) -> bool:
        if self._given.only:
            return server in self._given.only.split(",")
        return server != "ray" or self._given.extra == "ray"

    def _alone(self, server: str) -> bool:
        return self._workload.alone or SERVERS[server].alone

    def _start(self, server: str, stack: ExitStack) -> Running | None:
        """Starts a server that `stack` will end; None if it does not come to answer."""
        workload = self._workload
        batching = tune.chosen(self._name, server) if workload.batched else None
        if workload.batched and server in tune.CANDIDATES:
            self._series.settings[server] = f"batching {batching or 'off'}"
        settings = {"compile": "require"} if server == "compiled" else workload.settings
        model = models.MODELS / workload.model
        try:
            return stack.enter_context(launch(server, model, self._request, settings=settings, batching=batching))
        except Unfit as reason:
            self._unfit(server, reason)
            return None

    def _turn(self, server: str, running: Running) -> None:
        workload, given = self._workload, self._given
        model = models.MODELS / workload.model
        turn = Turn(running, model, self._request, workload.in_flight, given.seconds, given.overload_seconds)
        try:
            figures = workload.measure(turn)
        except Unfit as reason:
            self._unfit(server, reason)
            return
        self._series.rounds[-1][server] = figures
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        print(f"{self._name} round {len(self._series.rounds)} {server}: {shown}", flush=True)

    def _unfit(self, server: str, reason: Unfit) -> None:
        self._series.failures[server] = str(reason)
        print(f"{self._name} {server}: {reason}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
