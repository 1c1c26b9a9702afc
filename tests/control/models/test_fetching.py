"""Fetching beside the loop: few at a time, once per revision, retried, with progress."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from colonnade.control.models import fetching
from colonnade.control.models.fetching import Fetched, Fetcher, FetchFailed, Fetching, Outcome, Waits, Work, size_text
from colonnade.control.workload.sources import Source
from colonnade.errors import InvalidInput
from colonnade.storage.limits import Progress

SOURCE = Source("s3://bucket/m")


def always(work: Work) -> fetching.Prepare:
    return lambda namespace, source: work


async def settled(fetcher: Fetcher, source: Source = SOURCE, revision: int = 1) -> Outcome:
    ended = asyncio.Event()
    while isinstance(outcome := fetcher.ask("ns/a", revision, source, ended.set), Fetching) and not outcome.waits:
        await asyncio.wait_for(ended.wait(), 5)
        ended.clear()
    return outcome


async def test_one_attempt_serves_all_who_ask_and_a_new_revision_asks_anew() -> None:
    calls: list[tuple[str, Source]] = []

    def prepare(namespace: str, source: Source) -> Work:
        calls.append((namespace, source))
        return lambda progress: Fetched(Path("/"), "a mirror")

    fetcher = Fetcher(prepare)
    assert await settled(fetcher) == Fetched(Path("/"), "a mirror")
    assert await settled(fetcher) == Fetched(Path("/"), "a mirror")
    assert calls == [("ns", SOURCE)]
    await settled(fetcher, revision=2)
    assert len(calls) == 2
    await fetcher.close()


async def test_what_the_cache_let_go_of_is_fetched_again() -> None:
    calls, there = [], True

    def work(progress: Progress) -> Fetched:
        calls.append(1)
        return Fetched(Path("/x"))

    fetcher = Fetcher(always(work), still=lambda path: there)
    await settled(fetcher)
    there = False
    assert isinstance(fetcher.ask("ns/a", 1, SOURCE, lambda: None), Fetching)
    there = True
    await settled(fetcher)
    assert len(calls) == 2
    await fetcher.close()


async def test_a_failure_is_told_and_tried_again() -> None:
    failing = True

    def work(progress: Progress) -> Fetched:
        if failing:
            raise InvalidInput("no such file")
        return Fetched(Path("/"))

    fetcher = Fetcher(always(work))
    outcome = await settled(fetcher)
    assert isinstance(outcome, FetchFailed)
    assert outcome.message == "no such file"
    failing = False
    async with asyncio.timeout(5):
        while not isinstance(await settled(fetcher), Fetched):
            await asyncio.sleep(0.05)
    await fetcher.close()


@pytest.mark.parametrize("namespace", ["ns", ""])
async def test_what_failed_or_waits_is_tried_at_once_when_something_changed(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "backoff", lambda failures: 3600.0)
    monkeypatch.setattr(fetching, "WAIT_PERIOD", 3600.0)
    secret: list[str] = []

    def prepare(_: str, source: Source) -> Work:
        if not secret:
            raise Waits("it waits") if source.uri == "w" else InvalidInput("no secret")
        return lambda progress: Fetched(Path("/"))

    fetcher = Fetcher(prepare)
    assert isinstance(await settled(fetcher), FetchFailed)
    assert await settled(fetcher, Source("w")) == Fetching(waits="it waits")
    secret.append("here")
    fetcher.retry("elsewhere")
    assert isinstance(fetcher.ask("ns/a", 1, SOURCE, lambda: None), FetchFailed)
    told: list[int] = []
    fetcher.ask("ns/a", 1, SOURCE, lambda: told.append(1))
    fetcher.retry(namespace)
    assert told == [1], "the reconciler is asked to look"
    for source in (SOURCE, Source("w")):
        async with asyncio.timeout(5):
            while not isinstance(fetcher.ask("ns/a", 1, source, lambda: None), Fetched):
                await asyncio.sleep(0.01)
    await fetcher.close()


async def test_an_unexpected_failure_shows_no_internals() -> None:
    def work(progress: Progress) -> Fetched:
        raise KeyError("/secret/path")

    outcome = await settled(Fetcher(always(work)), Source("https://user:hunter2@h/m?sig=hunter2"))
    assert isinstance(outcome, FetchFailed)
    assert "secret" not in outcome.message
    assert "KeyError" not in outcome.message
    assert "hunter2" not in outcome.message


async def test_only_so_many_at_a_time_and_a_hanging_one_does_not_hold_up_the_end() -> None:
    release, running, most = threading.Event(), 0, 0

    def work(progress: Progress) -> Fetched:
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.wait(10)
        running -= 1
        return Fetched(Path("/"))

    fetcher = Fetcher(always(work), concurrency=2)
    for number in range(5):
        fetcher.ask(f"ns/{number}", 1, SOURCE, lambda: None)
    async with asyncio.timeout(5):
        while running < 2:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    assert most == 2
    fetcher.ask("ns/local", 1, Source("/models/m"), lambda: None)
    async with asyncio.timeout(5):
        while running < 3:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(fetcher.close(), 1)
    release.set()


async def test_progress_is_told_while_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PROGRESS_PERIOD", 0.01)
    release, told = threading.Event(), asyncio.Event()

    def work(progress: Progress) -> Fetched:
        progress(512 << 20, 2 << 30)
        release.wait(10)
        return Fetched(Path("/"))

    fetcher = Fetcher(always(work))
    fetcher.ask("ns/a", 1, SOURCE, told.set)
    await asyncio.wait_for(told.wait(), 5)
    outcome = fetcher.ask("ns/a", 1, SOURCE, told.set)
    assert outcome == Fetching(512 << 20, 2 << 30)
    release.set()
    assert isinstance(await settled(fetcher), Fetched)
    await fetcher.close()


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Fetching(), ""),
        (Fetching(waits="it waits"), "it waits"),
        (Fetching(512 << 20, 2 << 30), "Downloading s3://b/m: 512.0 MiB of 2.0 GiB (25 %)"),
        (Fetching(100), "Downloading s3://b/m: 100 bytes"),
        (Fetching(1 << 20, 1 << 20), "Downloading s3://b/m: 1.0 MiB of 1.0 MiB (100 %)"),
    ],
)
def test_progress_in_words(outcome: Fetching, text: str) -> None:
    assert outcome.text("s3://user:hunter2@b/m?sig=hunter2") == text


def test_sizes() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 3 << 40, 5 << 50)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "3.0 TiB",
        "5120.0 TiB",
    ]
