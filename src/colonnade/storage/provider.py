"""The seam for schemes: what `fetch` asks of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from colonnade.storage.cache import Cache
from colonnade.storage.limits import Limits, Progress
from colonnade.storage.patterns import Patterns, patterns_of
from colonnade.storage.volumes import Volumes


@dataclass(frozen=True)
class Order:
    """One thing to fetch.

    Attributes:
        uri: as the manifest gives it.
        cache: where downloads go.
        limits: what it may cost.
        env: where credentials are, in KServe's variables; nothing else holds any.
        progress: told about bytes as they come, or None.
        scope: tells apart what one URI may mean: endpoint and account. A provider sets it (`dataclasses.replace`).
        volumes: what `pvc://` can name.
    """

    uri: str
    cache: Cache
    limits: Limits
    env: Mapping[str, str]
    progress: Progress | None = None
    scope: str = ""
    volumes: Volumes = field(default_factory=Volumes)

    @cached_property
    def patterns(self) -> Patterns:
        """Which files of the source are wanted."""
        return patterns_of(self.env)

    @property
    def identity(self) -> str:
        """What tells this order from others in the cache: with another scope or other patterns it is another one."""
        return self.uri if self.patterns.all and not self.scope else f"{self.uri}\n{self.patterns}\n{self.scope}"

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
