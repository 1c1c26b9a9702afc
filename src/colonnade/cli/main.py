"""The command `colonnade`. A subcommand's module is imported only when it is called, so that `--help` is quick."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from colonnade.cli.exits import INTERRUPTED
from colonnade.cli.state import Target, default_state_dir
from colonnade.version import __version__

# Each name is a module of this room that holds `command`.
COMMANDS = {
    "up": "run the platform in the foreground: control plane, gateway and replicas",
    "run": "serve a model file or folder in one command",
    "apply": "create or change objects from manifests",
    "get": "list objects, or show one",
    "describe": "show an object with its conditions and events",
    "delete": "delete objects",
    "rollout": "follow a rollout, go back, promote, pause",
    "logs": "print the logs of a service's replicas",
    "predict": "ask a service for a prediction",
    "autoscale": "record a load, and try the autoscaler on it",
    "why": "say why a service is not Ready, and what to do",
    "check": "say, field by field, what of a manifest runs here",
    "digest": "print the digest of a model, and what a scan finds in it",
    "cache": "list or evict fetched models",
    "version": "print the versions of this command and of the platform",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"colonnade.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # what was asked for, and no failure
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="colonnade")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="$COLONNADE_STATE_DIR, else colonnade/ in the user's data folder",
    help="Folder that holds all state of the platform.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Talk to the API that this file names, instead of the one of the state folder.",
)
@click.pass_context
def main(ctx: click.Context, state_dir: Path, kubeconfig: Path | None) -> None:
    """From a trained model to a durable service: KServe's manifests on this machine, without Kubernetes.

    Exit codes: 0 done, 1 refused or not found, 2 wrong usage, 3 no platform answers, 4 not Ready, 130 Ctrl-C.
    """
    ctx.obj = Target(state_dir.absolute(), kubeconfig)
