"""Making the Python environments of revisions beside the event loop, as their models are fetched: asked for again and
again, two at a time, retried later and later.

What `fetching` knows of attempts is used as it is: an environment is fetched from a recipe instead of a URI.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from colonnade import defaults
from colonnade.control.models.fetching import Fetched, Fetcher, FetchFailed, Outcome, Work
from colonnade.control.runtimes.isolation import Isolation
from colonnade.control.templates.template import ENVIRONMENT_ANNOTATION
from colonnade.control.workload.sources import Source
from colonnade.errors import LoadFailed
from colonnade.runtimes.environments import READY, Environments, Recipe

CONCURRENCY = 2  # the index, the disk and the processor are shared by all


class EnvironmentBuilder:
    """Knows the environments of revisions, and gets them made. Belongs to one event loop."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._fetcher = Fetcher(self._prepare, still=lambda folder: (folder / READY).exists(), concurrency=CONCURRENCY)

    def ask(
        self, owner: str, revision: int, isolation: Isolation, model: Path | None, done: Callable[[], None]
    ) -> Outcome | None:
        """What is known of the environment of a revision of `owner`; starts an attempt if one is due.

        None says that it shares the control plane's. `model` is where its first source lies; `done` is called when the
        attempt ends.
        """
        try:
            recipe = isolation.recipe(model)
        except LoadFailed as error:
            return FetchFailed(error.message, time.time(), defaults.BACKOFF_MAX)
        return None if recipe is None else self._fetcher.ask(owner, revision, _source(recipe), done)

    def forget(self, owner: str) -> None:
        """Drop what is known for an owner that is gone."""
        self._fetcher.forget(owner)

    async def prune(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """Remove the environments that none of these pods runs in and that nobody has asked for in a long time."""
        annotations = [pod["metadata"].get("annotations") or {} for pod in pods]
        used = {Path(each[ENVIRONMENT_ANNOTATION]) for each in annotations if ENVIRONMENT_ANNOTATION in each}
        await asyncio.to_thread(self._environments.prune, used)

    async def close(self) -> None:
        """End all attempts; a `uv` that runs is left behind, and waited for by whoever asks for the same again."""
        await self._fetcher.close()

    def _prepare(self, _: str, source: Source) -> Work:
        recipe = _recipe(source)
        return lambda _: Fetched(self._environments.make(recipe))


def _source(recipe: Recipe) -> Source:
    """A recipe as what a `Fetcher` is asked for."""
    return Source(f"environment://{recipe.key}", recipe.adapter, env=tuple(("line", line) for line in recipe.lines))


def _recipe(source: Source) -> Recipe:
    return Recipe(tuple(line for _, line in source.env), source.mount)
