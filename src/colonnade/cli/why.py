"""`colonnade why`: the chain of causes when a service or a graph is not Ready."""

from __future__ import annotations

from dataclasses import asdict

import click

from colonnade.cli import output
from colonnade.cli.api import Api, Object, kind_path
from colonnade.cli.causes import LOG_LINES, Diagnosis, diagnose, worst_pod
from colonnade.cli.exits import NOT_READY, CommandFailed
from colonnade.cli.graph_causes import absent, diagnose_graph, services_of
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import kind_named, namespace_option, pods_of, service_kind, service_or_graph
from colonnade.resources.kinds import INFERENCE_GRAPH


@click.command("why", short_help="say why a service or a graph is not Ready, and what to do")
@click.argument("name", metavar="NAME|ig/NAME")
@namespace_option
@output.form_option("table", "json", "yaml", "name")
@click.pass_context
@pass_target
def command(target: Target, ctx: click.Context, name: str, namespace: str, form: output.Form) -> None:
    """Say why a service is not Ready: which step, which file, which exit code, and what to do.

    Of an InferenceGraph: which of its services is not Ready, and why. NAME is a service's, or else a graph's; `ig/NAME`
    is always a graph's. Exit code 0 if it is Ready, 4 if it is not.
    """
    api = Api.from_kubeconfig(target.kubeconfig)
    kind, found = service_or_graph(api, namespace, name)
    diagnosis = look_at_graph(api, found) if kind is INFERENCE_GRAPH else look(api, found)
    if form == "table":
        show(diagnosis)
    elif form == "name":
        click.echo(output.name(kind, diagnosis.name))
    else:
        output.document(asdict(diagnosis), form)
    if not diagnosis.ready:
        ctx.exit(NOT_READY)


def look(api: Api, service: Object) -> Diagnosis:
    """The diagnosis of a service."""
    namespace = service["metadata"]["namespace"]
    pods = pods_of(api, namespace, service["metadata"]["name"])
    return diagnose(service, pods, _last_lines(api, namespace, worst_pod(pods)))


def look_at_graph(api: Api, graph: Object) -> Diagnosis:
    """The diagnosis of a graph and of the services that its steps call."""
    namespace = graph["metadata"]["namespace"]
    found = [(name, api.find(service_kind(), namespace, name)) for name in services_of(graph)]
    return diagnose_graph(graph, [absent(name) if service is None else look(api, service) for name, service in found])


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
