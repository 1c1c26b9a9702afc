"""What a controller says of failures: nothing of writes that lost, and all else where people look."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from colonnade import errors
from colonnade.control import troubles
from colonnade.control.controller import TOLD_AFTER, Controller
from colonnade.control.events import Events
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workqueue import Key

from .kserve_objects import isvc

IRIS = Key("ns", "iris")
STALE = errors.Conflict("the object has been modified")
TAKEN = errors.AlreadyExists('pods "iris" already exists')


@asynccontextmanager
async def failing(error: Exception, times: int, tell: Callable[[Key, Exception], None]):  # type: ignore[no-untyped-def]
    """A controller whose work fails so often before it succeeds."""
    left = times
    done = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        nonlocal left
        if left:
            left -= 1
            raise error
        done.set()
        return None

    controller = Controller("test", reconcile, tell=tell)
    task = asyncio.create_task(controller.run(lambda: [IRIS]))
    try:
        async with asyncio.timeout(20):
            await done.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("error", "times", "logged", "told"),
    [
        pytest.param(STALE, TOLD_AFTER - 1, 0, 0, id="a write lost against another one"),
        pytest.param(STALE, TOLD_AFTER, 1, 1, id="it loses for ever"),
        pytest.param(TAKEN, 1, 1, 0, id="a name is taken"),
        pytest.param(TAKEN, TOLD_AFTER, TOLD_AFTER, 1, id="and stays so"),
        pytest.param(RuntimeError("fault"), TOLD_AFTER + 1, TOLD_AFTER + 1, 2, id="a fault of ours"),
    ],
)
async def test_failures_are_told(
    error: Exception, times: int, logged: int, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[Key, Exception]] = []
    with caplog.at_level(logging.ERROR):
        async with failing(error, times, lambda key, what: heard.append((key, what))):
            pass
    assert len(caplog.records) == logged
    assert heard == [(IRIS, error)] * told


async def test_one_that_cannot_be_told_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def tell(key: Key, error: Exception) -> None:
        raise OSError("the disk is full")

    async with failing(RuntimeError("fault"), TOLD_AFTER + 1, tell):
        pass
    assert "that reconciling fails could not be told" in caplog.text


def test_the_event_names_what_is_known_and_hides_what_may_be_secret(tmp_path: Path) -> None:
    store = Store(tmp_path / "colonnade.db")
    ref = Ref("serving.kserve.io", "inferenceservices", *IRIS)
    store.create(ref, isvc())
    tell = troubles.telling(store, Events(store), ref.group, ref.resource)
    tell(IRIS, TAKEN)
    tell(IRIS, TAKEN)
    tell(IRIS, KeyError("password"))
    tell(Key("ns", "gone"), TAKEN)
    found = store.list("", "events")[0]
    assert sorted((event["reason"], event["type"], event["count"]) for event in found) == [
        ("ReconcileFailed", "Warning", 1),
        ("ReconcileFailed", "Warning", 2),
    ]
    texts = " ".join(event["message"] for event in found)
    assert 'pods "iris" already exists' in texts
    assert "KeyError" in texts
    assert "password" not in texts
    store.close()
