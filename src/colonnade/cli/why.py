"""`colonnade why`: the chain of causes when a service is not Ready."""

from __future__ import annotations

from dataclasses import asdict

import click

from colonnade.cli import output
from colonnade.cli.api import Api, Object, kind_path
from colonnade.cli.causes import LOG_LINES, Diagnosis, diagnose, worst_pod
from colonnade.cli.exits import NOT_READY, CommandFailed
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import kind_named, namespace_option, pods_of, service, service_kind


@click.command("why", short_help="say why a service is not Ready, and what to do")
@click.argument("name")
@namespace_option
@output.form_option("table", "json", "yaml", "name")
@click.pass_context
@pass_target
def command(target: Target, ctx: click.Context, name: str, namespace: str, form: output.Form) -> None:
    """Say why a service is not Ready: which step, which file, which exit code, and what to do.

    Exit code 0 if it is Ready, 4 if it is not.
    """
    diagnosis = look(Api.from_kubeconfig(target.kubeconfig), namespace, name)
    if form == "table":
        show(diagnosis)
    elif form == "name":
        click.echo(output.name(service_kind(), name))
    else:
        output.document(asdict(diagnosis), form)
    if not diagnosis.ready:
        ctx.exit(NOT_READY)


def look(api: Api, namespace: str, name: str) -> Diagnosis:
    """The diagnosis of a service as it is now."""
    found = service(api, namespace, name)
    pods = pods_of(api, namespace, name)
    return diagnose(found, pods, _last_lines(api, namespace, worst_pod(pods)))


def _last_lines(api: Api, namespace: str, pod: Object | None) -> list[str]:
    if pod is None:
        return []
    name = pod["metadata"]["name"]
    path = kind_path(kind_named("pod"), namespace, name) + "/log"
    for previous in ("false", "true"):
        try:
            lines = list(api.lines(path, {"tailLines": str(LOG_LINES), "previous": previous}))
        except CommandFailed:
            continue
        if lines:
            return lines
    return []


def show(diagnosis: Diagnosis) -> None:
    """Prints the chain, the last lines of the log, and what to do."""
    if diagnosis.ready:
        output.out.print(f"[green]{diagnosis.name} is Ready[/]")
        return
    output.out.print(f"[bold red]{diagnosis.name} is not Ready[/]")
    for depth, cause in enumerate(diagnosis.causes):
        indent = "  " * depth
        output.out.print(f"{indent}└─ {cause.step}: {cause.message}", markup=False)
        for line in cause.details:
            output.out.print(f"{indent}     {line}", markup=False)
    if diagnosis.log:
        output.out.print("\n[bold]Last lines of its log[/]")
        for line in diagnosis.log:
            output.out.print(f"  {line}", markup=False)
    output.out.print("\n[bold]What to do[/]")
    for hint in diagnosis.advice:
        output.out.print(f"  • {hint}", markup=False)
