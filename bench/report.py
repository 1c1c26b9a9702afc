"""The report of a run: the goals with their verdicts, then a table per workload.

python -m bench.report      prints the report of the last run's figures again
python -m bench.report --write      and writes it to RESULTS.md and into docs/performance.md
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import metadata

from bench import environments, machine, profile, results
from bench.goals import GOALS, Verdict
from bench.machine import ROOT, WORK
from bench.profile import Profile
from bench.results import Series, Spread, ratio
from bench.servers import PYTHON_PEERS, SERVERS
from bench.workloads import WORKLOADS, Workload

FIGURES = WORK / "results.json"
RESULTS = ROOT / "bench" / "RESULTS.md"
PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- figures of the last run, written by bench.report -->"
END = "<!-- end of the figures -->"
LIBRARIES = ("uvloop", "httptools", "msgspec", "numpy", "onnxruntime", "scikit-learn")

# Measures of the workloads that are no closed loop: the figure's name, its column, its unit.
COLUMNS = {
    "capacity.rps": "capacity, requests/s",
    "offered.rps": "offered",
    "sent.rps": "sent",
    "goodput.rps": "goodput",
    "p99": "p99 of accepted, ms",
    "recovery.s": "recovery, s",
    "refused": "refused",
    "failed": "failed",
    "pss": "PSS, MB",
    "gateway.pss": "gateway, MB",
    "replica.pss": "replica, MB",
    "rest.pss": "rest, MB",
    "processes": "processes",
    "core": "% of a core",
    "cold.s": "first 200, s",
    "load.s": "import and load, s",
}


def write(found: Mapping[str, Series], profiled: Profile | None) -> None:
    """RESULTS.md, and the part of docs/performance.md that shows figures."""
    RESULTS.write_text(render(found, profiled))
    page = PAGE.read_text()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no lines {BEGIN} and {END} for the figures to stand between")
    figures = ["## The goals, in the last run", "", f"{machine.describe()}.", "", *goals_table(found)]
    if profiled is not None:
        figures += ["", "## The parts, in the last run", "", *profile.tables(profiled)]
    PAGE.write_text("\n".join([head + begin, "", *figures, "", end + tail]))


def render(found: Mapping[str, Series], profiled: Profile | None) -> str:
    """The whole report in Markdown."""
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    peers = ", ".join(environments.version(name) for name in environments.PACKAGES)
    lines = [
        "# Results of `make bench`",
        "",
        f"{machine.describe()}. Colonnade {metadata.version('colonnade')}; {libraries}. Peers: {peers}.",
        "",
        "A server's whole process tree has one core, the load another. Ratios are made inside a round: median (range).",
        "",
        "## Goals",
        "",
        *goals_table(found),
    ]
    for name, series in found.items():
        lines += ["", f"## {WORKLOADS[name].title}", "", *_section(WORKLOADS[name], series)]
    if profiled is not None:
        lines += ["", "## Where the time goes", "", *profile.tables(profiled)]
    return "\n".join(lines) + "\n"


def goals_table(found: Mapping[str, Series]) -> list[str]:
    """Each goal on the measured work, its figure, and whether it was kept."""
    lines = ["| work | of | goal | measured | |", "|---|---|---|---|---|"]
    for goal in (goal for goal in GOALS if goal.workload in found):
        spread, verdict = goal.judge(found)
        own = "replica alone" if goal.server == "replica" else "through the gateway"
        own += ", compiled" if goal.server == "compiled" else ""
        mark = f"**{verdict}**" if verdict is Verdict.MISSED else str(verdict)
        lines.append(
            f"| {WORKLOADS[goal.workload].title} | {own} | {goal.text} | {_shown(spread, goal.unit)} | {mark} |"
        )
    return lines


def _section(workload: Workload, series: Series) -> list[str]:
    calibration = Spread.of(series.calibration_ms)
    rounds = f"{series.date}, {len(series.rounds)} rounds"
    if workload.in_flight:
        rounds += f" of {series.seconds:g} s a figure"
    lines = [f"{rounds}; a fixed loop took {_shown(calibration, 'ms')}.", ""]
    closed = workload.in_flight and any(
        series.values(name, f"{workload.in_flight[0]}.rps") for name in series.servers()
    )
    lines += _closed_table(workload, series) if closed else _plain_table(series)
    notes = [f"{SERVERS[name].title}: {text}." for name, text in series.settings.items() if name in series.servers()]
    notes += [f"{SERVERS[name].title} gave no figure in some round: {why}." for name, why in series.failures.items()]
    return [*lines, "", *(f"* {note}" for note in notes)] if notes else lines


def _closed_table(workload: Workload, series: Series) -> list[str]:
    first, *others = workload.in_flight
    limits = [name for name in workload.servers if name.startswith("bare")]
    bases = {f"of the {SERVERS[name].title}": (name,) for name in limits}
    bases |= {"× best Python peer": PYTHON_PEERS, "× Triton": ("triton",)}
    bases = {title: names for title, names in bases.items() if set(names) & set(series.servers())}
    head = [f"requests/s, {first} in flight", "p50 / p99 ms", "CPU µs a request"]
    head += [f"requests/s, {each}" if each > 1 else "p50 ms, 1 in flight" for each in others]
    lines = [_row(["server", *head, *bases]), "|---" * (1 + len(head) + len(bases)) + "|"]
    for name in series.servers():
        cells = [
            _shown(Spread.of(series.values(name, f"{first}.rps"))),
            f"{_median(series, name, f'{first}.p50')} / {_median(series, name, f'{first}.p99')}",
            _median(series, name, f"{first}.cpu_us"),
        ]
        cells += [_median(series, name, f"{each}.rps" if each > 1 else "1.p50") for each in others]
        cells += [_shown(ratio(series, name, names, f"{first}.rps")) for names in bases.values()]
        lines.append(_row([SERVERS[name].title, *cells]))
    return lines


def _plain_table(series: Series) -> list[str]:
    columns = [key for key in COLUMNS if any(series.values(name, key) for name in series.servers())]
    lines = [_row(["server", *(COLUMNS[key] for key in columns)]), "|---" * (1 + len(columns)) + "|"]
    for name in series.servers():
        cells = [_shown(Spread.of(series.values(name, key))) for key in columns]
        lines.append(_row([SERVERS[name].title, *cells]))
    return lines


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _median(series: Series, server: str, measure: str) -> str:
    spread = Spread.of(series.values(server, measure))
    return "–" if spread is None else number(spread.median)


def _shown(spread: Spread | None, unit: str = "") -> str:
    if spread is None:
        return "–"
    text = number(spread.median)
    if spread.low != spread.high:
        text += f" ({number(spread.low)}–{number(spread.high)})"
    return f"{text} {unit}".rstrip()


def number(value: float) -> str:
    """Three digits that matter, and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the report of the last run")
    parser.add_argument("--write", action="store_true", help="to RESULTS.md and docs/performance.md")
    given = parser.parse_args()
    last = results.load(FIGURES), profile.load()
    print(render(*last))
    if given.write:
        write(*last)
