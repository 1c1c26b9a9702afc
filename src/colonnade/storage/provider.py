"""The seam for schemes: what `fetch` asks of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from colonnade.storage.cache import Cache
from colonnade.storage.limits import Limits, Progress


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to fetch.

    Attributes:
        uri: as the manifest gives it.
        cache: where downloads go.
        limits: what it may cost.
        env: where credentials are, in KServe's variables.
        progress: told about bytes as they come, or None.
    """

    uri: str
    cache: Cache
    limits: Limits
    env: Mapping[str, str]
    progress: Progress | None = None

    def report(self, done: int, total: int | None) -> None:
        """Tell the progress callback, if there is one."""
        if self.progress is not None:
            self.progress(done, total)


class Provider(Protocol):
    """Fetches the URIs of one scheme."""

    def fetch(self, order: Order) -> Path:
        """The artefact's path: a folder, or a local file as it is.

        Raises:
            LoadFailed: names the URI without its secrets, the cause and the fix.
        """
        ...
