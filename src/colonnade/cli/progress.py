"""The progress of a model's download, on stderr while a command waits: one line that changes, or lines for a file."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

_PERIOD = 5.0  # seconds between two lines where nobody watches
_MARK = "Downloading "


class DownloadProgress:
    """What was last said of one service. A context manager that ends the line."""

    def __init__(self) -> None:
        self._said = ""
        self._moment = 0.0
        self._live = sys.stderr.isatty()

    def __enter__(self) -> DownloadProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and self._said:
            click.echo(err=True)

    def show(self, service: dict[str, Any]) -> None:
        """Say how far the download is, if there is one."""
        text = text_of(service)
        if not text or text == self._said:
            return
        now = time.monotonic()
        if self._live:
            click.echo(f"\r{text}\x1b[K", nl=False, err=True)
        elif now - self._moment < _PERIOD:
            return
        else:
            click.echo(text, err=True)
        self._said, self._moment = text, now


def text_of(service: dict[str, Any]) -> str:
    """The part of the service's conditions that tells of a download, or ""."""
    for condition in (service.get("status") or {}).get("conditions") or []:
        if condition.get("reason") == "ModelFetching" and _MARK in (message := condition.get("message", "")):
            return str(message[message.index(_MARK) :])
    return ""
