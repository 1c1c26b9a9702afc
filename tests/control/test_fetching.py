"""Fetching beside the loop: few at a time, once per revision, retried."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from colonnade.control.fetching import Fetched, Fetcher, FetchFailed, Fetching, Outcome
from colonnade.errors import InvalidInput


async def settled(fetcher: Fetcher, uri: str, revision: int = 1) -> Outcome:
    ended = asyncio.Event()
    while isinstance(outcome := fetcher.ask("ns/a", revision, uri, ended.set), Fetching):
        await asyncio.wait_for(ended.wait(), 5)
        ended.clear()
    return outcome


async def test_one_attempt_serves_all_who_ask_and_a_new_revision_asks_anew() -> None:
    calls: list[str] = []

    def fetch(uri: str) -> Path:
        calls.append(uri)
        return Path("/there")

    fetcher = Fetcher(fetch)
    assert await settled(fetcher, "u") == Fetched(Path("/there"))
    assert await settled(fetcher, "u") == Fetched(Path("/there"))
    assert calls == ["u"]
    await settled(fetcher, "u", 2)
    assert calls == ["u", "u"]
    await fetcher.close()


async def test_a_failure_is_told_and_tried_again() -> None:
    failing = True

    def fetch(uri: str) -> Path:
        if failing:
            raise InvalidInput("no such file")
        return Path("/there")

    fetcher = Fetcher(fetch)
    outcome = await settled(fetcher, "u")
    assert isinstance(outcome, FetchFailed)
    assert outcome.message == "no such file"
    failing = False
    async with asyncio.timeout(5):
        while not isinstance(await settled(fetcher, "u"), Fetched):
            await asyncio.sleep(0.05)
    await fetcher.close()


async def test_an_unexpected_failure_shows_no_internals() -> None:
    def fetch(uri: str) -> Path:
        raise KeyError("/secret/path")

    outcome = await settled(Fetcher(fetch), "u")
    assert isinstance(outcome, FetchFailed)
    assert "secret" not in outcome.message
    assert "KeyError" not in outcome.message


async def test_only_so_many_at_a_time_and_a_hanging_one_does_not_hold_up_the_end() -> None:
    release, running, most = threading.Event(), 0, 0

    def fetch(uri: str) -> Path:
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.wait(10)
        running -= 1
        return Path(uri)

    fetcher = Fetcher(fetch, concurrency=2)
    for number in range(5):
        fetcher.ask(f"ns/{number}", 1, "u", lambda: None)
    async with asyncio.timeout(5):
        while running < 2:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(fetcher.close(), 1)
    assert most == 2
    release.set()
