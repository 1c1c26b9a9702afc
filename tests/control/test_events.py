"""Events: counted, not repeated; forgotten after their time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from colonnade.control.events import Events
from colonnade.control.store import Store

from .kserve_objects import isvc


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "db")
    yield store
    store.close()


def test_the_same_thing_again_raises_the_count(store: Store) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    events = Events(store, now=lambda: moment)
    events.record(isvc(), "BackOff", "again", "Warning")
    moment += timedelta(seconds=5)
    events.record(isvc(), "BackOff", "again", "Warning")
    events.record(isvc(), "BackOff", "other", "Warning")
    found = sorted(store.list("", "events", "ns")[0], key=lambda event: -event["count"])
    assert [(event["count"], event["message"]) for event in found] == [(2, "again"), (1, "other")]
    assert found[0]["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert found[0]["lastTimestamp"] == "2026-01-01T00:00:05Z"
    assert found[0]["involvedObject"]["uid"] == "u1"


def test_old_events_go(store: Store) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    events = Events(store, now=lambda: moment)
    events.record(isvc(), "Old", "m")
    moment += timedelta(seconds=50)
    events.record(isvc(), "New", "m")
    moment += timedelta(seconds=20)
    assert events.prune(60.0) == 1
    assert [event["reason"] for event in store.list("", "events")[0]] == ["New"]
