"""Where the platform of this user keeps its state, and what it says there of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from colonnade.cli.exits import Unreachable
from colonnade.control.layout import Endpoints, Layout


@dataclass(frozen=True)
class Target:
    """Which platform a command is about."""

    state_dir: Path
    kubeconfig_path: Path | None = None

    @property
    def kubeconfig(self) -> Path:
        """The file named on the command line, else the one that the platform wrote."""
        return self.kubeconfig_path or Layout(self.state_dir).kubeconfig


pass_target = click.make_pass_decorator(Target)


def default_state_dir() -> Path:
    """`$COLONNADE_STATE_DIR`, else `colonnade` under the user's data folder (XDG Base Directory Specification)."""
    if chosen := os.environ.get("COLONNADE_STATE_DIR"):
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "colonnade"


def endpoints(state_dir: Path) -> Endpoints:
    """The addresses of the platform that runs on this state folder.

    Raises:
        CommandFailed: none runs there.
    """
    try:
        return msgspec.json.decode(Layout(state_dir).endpoints.read_bytes(), type=Endpoints)
    except (FileNotFoundError, NotADirectoryError):
        raise Unreachable(
            f"no platform runs on {state_dir}: start one with `colonnade up`, "
            "or name another state folder with --state-dir"
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise Unreachable(f"{Layout(state_dir).endpoints} cannot be read: {error}") from None
