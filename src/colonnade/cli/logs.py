"""`colonnade logs`: what the replicas of a service wrote to stdout and stderr."""

from __future__ import annotations

import threading

import click

from colonnade.cli.api import Api, kind_path
from colonnade.cli.exits import CommandFailed
from colonnade.cli.state import Target, pass_target
from colonnade.cli.targets import kind_named, namespace_option, pods_of, service


@click.command("logs", short_help="print the logs of a service's replicas")
@click.argument("name", metavar="NAME | pod/NAME")
@namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on and print what is written from now on.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last lines.")
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@pass_target
def command(target: Target, name: str, namespace: str, follow: bool, tail: int | None, previous: bool) -> None:
    """Print the logs of a service's replicas (NAME), or of one replica (pod/NAME)."""
    api = Api.from_kubeconfig(target.kubeconfig)
    if name.startswith(("pod/", "po/", "pods/")):
        pods = [name.split("/", 1)[1]]
    else:
        service(api, namespace, name)
        pods = [pod["metadata"]["name"] for pod in pods_of(api, namespace, name)]
        if not pods:
            raise CommandFailed(f"{name} has no replica yet; `colonnade why {name}` says why")
    params = {"follow": str(follow).lower(), "previous": str(previous).lower()}
    if tail is not None:
        params["tailLines"] = str(tail)

    def show(pod: str) -> None:
        prefix = f"[{pod}] " if len(pods) > 1 else ""
        for line in api.lines(kind_path(kind_named("pod"), namespace, pod) + "/log", params):
            click.echo(prefix + line)

    if follow and len(pods) > 1:
        threads = [threading.Thread(target=show, args=(pod,), daemon=True) for pod in pods]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for pod in pods:
            show(pod)
