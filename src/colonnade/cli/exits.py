"""What the exit codes of the command line mean. Scripts rely on them; they are listed in `docs/reference/cli.md`.

0: done. 1: refused, not found, unknown fields, an answer that is not a success. 2: the command line itself is wrong
(click's own `UsageError`). 3: no platform answers. 4: the service exists and is not Ready. 130: Ctrl-C, as shells
say it.
"""

from __future__ import annotations

import click

FAILED = 1
UNREACHABLE = 3
NOT_READY = 4
INTERRUPTED = 130


class CommandFailed(click.ClickException):
    """Ends the command with a sentence on stderr."""

    exit_code = FAILED


class Outdated(CommandFailed):
    """What was written is made of something that has changed since."""


class Unreachable(CommandFailed):
    """No platform answers."""

    exit_code = UNREACHABLE


class NotReady(CommandFailed):
    """The service exists and is not Ready."""

    exit_code = NOT_READY
