"""`colonnade autoscale`: record the load of a service, and see what the autoscaler would do with it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from colonnade.autoscale import plot, settings, simulation, trace
from colonnade.autoscale.decision import Fixed, Settings
from colonnade.autoscale.requests import RequestRule
from colonnade.cli import output, recording
from colonnade.cli.exits import CommandFailed
from colonnade.cli.manifests import read_manifests
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import namespace_option
from colonnade.errors import Error, InvalidInput
from colonnade.resources import defaulting, knative, validation
from colonnade.resources.kinds import INFERENCE_SERVICE, by_kind

COMPONENTS = ("predictor", "transformer", "explainer")


@click.group("autoscale", short_help="record a load, and try the autoscaler on it")
def command() -> None:
    """Record the load of a service, and try the autoscaler on it."""


@command.command("simulate", short_help="what the autoscaler would have done with a recorded load")
@click.argument("recorded", metavar="TRACE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("-f", "--filename", "source", help="Manifest of an InferenceService: its scaling fields and annotations.")
@click.option(
    "--component", type=click.Choice(COMPONENTS), default="predictor", show_default=True, help="Part of the manifest."
)
@click.option(
    "--annotation",
    "annotations",
    multiple=True,
    metavar="KEY=VALUE",
    help="An annotation over those of the manifest; a KEY without a slash is one of autoscaling.knative.dev/.",
)
@click.option(
    "--start-seconds",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Time that a replica takes to start.",
)
@click.option(
    "--tail-seconds", type=click.IntRange(0), help="Time without load after the trace.  [default: two windows]"
)
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Write the course as SVG here."
)
@output.form_option("table", "json", "yaml")
def simulate(
    recorded: Path,
    source: str | None,
    component: str,
    annotations: tuple[str, ...],
    start_seconds: float,
    tail_seconds: int | None,
    picture: Path | None,
    form: output.Form,
) -> None:
    """Run a recorded load through the autoscaler and show wanted and ready replicas.

    TRACE is CSV or JSON lines ("-" is standard input), in one of two shapes. A profile has a column `time` (seconds, or
    RFC 3339) and, from that time until the next row, `concurrency`, or `rps` and `duration`; by manifest also `cpu` or
    `memory` (percent of what one replica requests, over all replicas) or `value` (of an external metric). A log of
    requests has `arrival` and `duration` (seconds), one row for each.
    """
    try:
        chosen = _settings(source, component, annotations)
        tail = tail_seconds if tail_seconds is not None else _two_windows(chosen)
        moments = simulation.simulate(trace.read(_text(recorded)), chosen, start=start_seconds, tail=tail)
    except Error as error:
        raise CommandFailed(error.message) from None
    if picture is not None:
        try:
            picture.write_text(plot.svg(moments, f"{recorded.name}: {_what(chosen)}", _unit(chosen)))
        except OSError as error:
            raise CommandFailed(f"{picture}: {error.strerror}") from None
    if form != "table":
        found = {
            "summary": asdict(simulation.summary(moments, chosen)),
            "seconds": [moment._asdict() for moment in moments],
        }
        output.document(found, form)
        return
    _print(moments, chosen)
    if picture is not None:
        output.out.print(f"plot: {picture}", markup=False)


@command.command("record", short_help="record the load of a running service")
@click.argument("name")
@namespace_option
@click.option(
    "--component", type=click.Choice(COMPONENTS), default="predictor", show_default=True, help="Part of the service."
)
@click.option("--seconds", type=click.IntRange(1), help="How long; until Ctrl-C if not given.")
@pass_target
def record(target: Target, name: str, namespace: str, component: str, seconds: int | None) -> None:
    """Print the load of a running service each second, as a TRACE for `simulate`."""
    part = recording.Part(namespace, name, component)
    asyncio.run(recording.record(recording.sockets(target.state_dir), part, seconds, click.echo))


def _text(path: Path) -> str:
    try:
        with click.open_file(str(path), encoding="utf-8-sig") as file:
            return str(file.read())
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not a text file") from None
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None


def _settings(source: str | None, component: str, annotations: tuple[str, ...]) -> Settings:
    """The settings of the manifest, with annotations over it; of a service that scales to zero, if none is given.

    Raises:
        Error: the manifest or an annotation is refused.
    """
    given = dict(_pair(text) for text in annotations)
    if source is None:
        return settings.of({"annotations": {f"{knative.PREFIX}min-scale": "0"} | given}, {})
    obj = _manifest(source)
    metadata: dict[str, Any] = obj["metadata"]
    obj["metadata"] = {**metadata, "annotations": {**(metadata.get("annotations") or {}), **given}}
    validation.validate(obj)
    if component not in obj["spec"]:
        raise InvalidInput(f"The manifest has no spec.{component}; choose another --component.")
    return settings.of(obj["metadata"], obj["spec"][component])


def _manifest(source: str) -> dict[str, Any]:
    found = [
        document.object
        for document in read_manifests((source,))
        if by_kind(document.object.get("apiVersion"), document.object.get("kind")) is INFERENCE_SERVICE
    ]
    if len(found) != 1:
        raise CommandFailed(f"{source} has {len(found)} InferenceServices; give a manifest with one")
    return defaulting.default(found[0])


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise CommandFailed(f"--annotation {text!r} has no value; write KEY=VALUE")
    return (key if "/" in key else knative.PREFIX + key), value


def _two_windows(chosen: Settings) -> int:
    return int(2 * chosen.rule.stable_window) if isinstance(chosen.rule, RequestRule) else 600


def _what(chosen: Settings) -> str:
    rule = chosen.rule
    bounds = f"{chosen.least} to {chosen.most or 'any number of'} replicas"
    if isinstance(rule, RequestRule):
        return f"{rule.metric}, target {rule.target:.4g} a replica, {bounds}"
    if isinstance(rule, Fixed):
        return rule.why
    return f"{', '.join(f'{target.name} {target.goal:g}' for target in rule.targets)}, {bounds}"


def _unit(chosen: Settings) -> str:
    rule = chosen.rule
    if isinstance(rule, RequestRule):
        return "requests at a time" if rule.metric == "concurrency" else "requests a second"
    return "" if isinstance(rule, Fixed) else rule.targets[0].name


def _print(moments: list[simulation.Moment], chosen: Settings) -> None:
    found = simulation.summary(moments, chosen)
    output.out.print(_what(chosen), markup=False)
    changes = [
        (moment.second, f"{moment.load:.4g}", moment.wanted, moment.ready, moment.reason)
        for moment in moments
        if moment.reason
    ]
    output.table(("SECOND", "LOAD", "WANTED", "READY", "REASON"), changes)
    width = max(20, shutil.get_terminal_size().columns - 24)
    for name, values in (
        ("load", [moment.load for moment in moments]),
        ("wanted", [float(moment.wanted) for moment in moments]),
        ("ready", [float(moment.ready) for moment in moments]),
    ):
        output.out.print(f"{name:7}{plot.sparkline(values, width)} {max(values):.4g}", markup=False)
    saved = 100 * (1 - found.replica_seconds / found.peak_seconds) if found.peak_seconds else 0.0
    output.out.print(
        f"{found.seconds} s, {found.changes} changes, at most {found.most} replicas, "
        f"{found.panic_seconds} s in panic\n"
        f"{found.replica_seconds} replica seconds, {saved:.0f} % less than {found.most} all the time\n"
        f"too little for {found.short} s, {found.cold_starts} cold starts",
        markup=False,
    )
