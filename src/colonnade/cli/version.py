"""`colonnade version`: of this command, and of the platform where one runs."""

from __future__ import annotations

from typing import Any

import click

from colonnade.cli import output
from colonnade.cli.api import Api
from colonnade.cli.exits import CommandFailed
from colonnade.cli.state import Target, pass_target
from colonnade.version import __version__


@click.command("version", short_help="print the versions of this command and of the platform")
@output.form_option("table", "json", "yaml")
@pass_target
def command(target: Target, form: output.Form) -> None:
    """Print the versions of this command and of the platform."""
    try:
        platform: dict[str, Any] | None = Api.from_kubeconfig(target.kubeconfig).request("GET", "/version")
    except CommandFailed:
        platform = None
    if form != "table":
        output.document({"command": __version__, "platform": platform, "stateDir": str(target.state_dir)}, form)
        return
    output.out.print(f"colonnade {__version__}")
    if platform is None:
        output.out.print(f"no platform runs on {target.state_dir}")
    else:
        output.out.print(f"platform  {platform.get('gitVersion')}, {platform.get('platform')}")
