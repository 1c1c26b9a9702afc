"""`colonnade cache`: the models that were fetched, and room for others."""

from __future__ import annotations

import time

import click

from colonnade.cli import output
from colonnade.cli.quantities import QuantityType
from colonnade.cli.state import Target, pass_target
from colonnade.control.layout import Layout
from colonnade.control.models.fetching import size_text
from colonnade.resources.columns import duration
from colonnade.storage import eviction
from colonnade.storage.cache import Cache


@click.group("cache", short_help="list or evict fetched models")
def command() -> None:
    """The models that were fetched. Files that several of them hold are on the disk once."""


@command.command("list")
@pass_target
def list_(target: Target) -> None:
    """List the models, the least recently used first: what eviction takes first stands first."""
    cache = Cache(Layout(target.state_dir).cache)
    found = sorted(eviction.held(cache), key=lambda each: each.used)
    leased, pinned, now = cache.leased(), cache.pinned(), time.time()
    if not found:
        output.err.print("no models were fetched")
        return
    rows = [
        [
            each.key,
            size_text(each.size),
            duration(now - each.used),
            ", ".join(word for word, keys in (("replica", leased), ("local model cache", pinned)) if each.key in keys),
        ]
        for each in found
    ]
    output.table(["ARTEFACT", "SIZE", "USED", "HELD BY"], rows)
    click.echo(f"{size_text(eviction.size_of(found))} on the disk")


@command.command("prune")
@click.option("--keep", "limit", type=QuantityType(), default=0, show_default="0", help="Leave so much, such as 10Gi.")
@pass_target
def prune(target: Target, limit: int) -> None:
    """Evict models that nobody uses; those of replicas and of local model caches stay."""
    cache = Cache(Layout(target.state_dir).cache)
    done = eviction.prune(cache, limit)
    click.echo(f"evicted {len(done.gone)}; {size_text(done.size)} left")
