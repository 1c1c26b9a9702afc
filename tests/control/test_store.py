"""The store's promises: optimistic concurrency, versions that only rise, a log that watches can be built on."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.control.store import Change, Ref, Store
from colonnade.errors import AlreadyExists, Conflict, Error, Gone, NotFound

GROUP, RESOURCE = "serving.kserve.io", "inferenceservices"


def ref(name: str, namespace: str = "default") -> Ref:
    return Ref(GROUP, RESOURCE, namespace, name)


def service(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {}, "spec": spec}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "colonnade.db")
    yield opened
    opened.close()


def test_a_new_store_has_the_default_namespace_and_a_private_file(store: Store, tmp_path: Path) -> None:
    namespaces, version = store.list("", "namespaces")
    assert [found["metadata"]["name"] for found in namespaces] == ["default"]
    assert version == store.version == 1
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_create_fills_in_what_the_server_owns(store: Store) -> None:
    sent = service(a=1)
    sent["metadata"] = {"uid": "mine", "resourceVersion": "77", "generation": 9, "labels": {"x": "y"}}
    made = store.create(ref("one"), sent)
    metadata = made["metadata"]
    assert metadata["name"] == "one"
    assert metadata["namespace"] == "default"
    assert metadata["uid"] != "mine"
    assert metadata["resourceVersion"] == str(store.version)
    assert metadata["generation"] == 1
    assert metadata["labels"] == {"x": "y"}
    assert metadata["creationTimestamp"].endswith("Z")
    assert store.get(ref("one")) == made
    with pytest.raises(AlreadyExists, match=r'inferenceservices.serving.kserve.io "one" already exists'):
        store.create(ref("one"), sent)


def test_objects_leave_the_store_as_copies(store: Store) -> None:
    made = store.create(ref("one"), service(deep={"list": [1]}))
    made["spec"]["deep"]["list"].append(2)
    found = store.get(ref("one"))
    assert found is not None
    assert found["spec"]["deep"]["list"] == [1]


@pytest.mark.parametrize(
    ("change", "status", "generation", "moved"),
    [
        (lambda o: o["spec"].update(a=2), False, 2, True),
        (lambda o: o["spec"].update(a=True), False, 2, True),  # true is not 1
        (lambda o: o["metadata"].update(labels={"x": "y"}), False, 1, True),
        (lambda o: o.update(status={"ready": False}), False, 1, False),  # the stored status stays
        (lambda o: o.update(status={"ready": False}), True, 1, True),
        (lambda o: o["spec"].update(a=2), True, 1, False),  # only the status is written
        (lambda o: None, False, 1, False),
        (lambda o: o["metadata"].update(creationTimestamp="1999-01-01T00:00:00Z"), False, 1, False),
    ],
)
def test_update(
    store: Store, change: Callable[[dict[str, Any]], None], status: bool, generation: int, moved: bool
) -> None:
    store.create(ref("one"), service(a=1))
    before = store.update(ref("one"), {"metadata": {}, "status": {"ready": True}}, status=True)
    sent = store.get(ref("one"))
    assert sent is not None
    change(sent)
    after = store.update(ref("one"), sent, status=status)
    assert after["metadata"]["generation"] == generation
    assert (after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]) is moved
    assert after["metadata"]["creationTimestamp"] == before["metadata"]["creationTimestamp"]
    assert after["spec"] == (sent["spec"] if not status else before["spec"])
    assert after["status"] == (sent["status"] if status else {"ready": True})
    assert store.get(ref("one")) == after


def test_a_stale_write_is_refused_in_kubernetes_words(store: Store) -> None:
    old = store.create(ref("one"), service(a=1))
    new = store.update(ref("one"), service(a=2))
    with pytest.raises(Conflict, match="the object has been modified; please apply your changes to the latest version"):
        store.update(ref("one"), old)
    with pytest.raises(Conflict, match="the object has been modified"):
        store.delete(ref("one"), version=old["metadata"]["resourceVersion"])
    with pytest.raises(Conflict, match="UID in precondition: other"):
        store.delete(ref("one"), uid="other")
    store.delete(ref("one"), uid=new["metadata"]["uid"], version=new["metadata"]["resourceVersion"])
    for attempt in (lambda: store.delete(ref("one")), lambda: store.update(ref("one"), new)):
        with pytest.raises(NotFound, match=r'inferenceservices.serving.kserve.io "one" not found'):
            attempt()


def test_a_dry_run_leaves_nothing_behind(store: Store) -> None:
    heard: list[Change] = []
    store.subscribe(heard.append)
    version = store.version
    tried = store.create(ref("one"), service(a=1), dry_run=True)["metadata"]
    assert tried["uid"]
    assert "resourceVersion" not in tried
    assert store.get(ref("one")) is None
    made = store.create(ref("one"), service(a=1))
    changed = store.update(ref("one"), service(a=2), dry_run=True)
    assert changed["spec"] == {"a": 2}
    assert changed["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]  # `kubectl diff` shows it
    store.delete(ref("one"), dry_run=True)
    assert store.version == version + 1
    assert [change.type for change in heard] == ["ADDED"]


def test_versions_rise_over_deletes_and_restarts(tmp_path: Path) -> None:
    path = tmp_path / "colonnade.db"
    seen = []
    for _ in range(3):
        store = Store(path)
        seen += [int(store.create(ref("one"), service())["metadata"]["resourceVersion"])]
        seen += [int(store.delete(ref("one"))["metadata"]["resourceVersion"])]
        store.close()
    assert seen == sorted(set(seen))
    reopened = Store(path)
    assert reopened.version == seen[-1]
    assert [change.version for change in reopened.changes(GROUP, RESOURCE, 0)] == seen
    reopened.close()


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "colonnade.db"
    Store(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(Error, match="newer Colonnade"):
        Store(path)


def test_changes_tell_the_story_and_the_states_before(store: Store) -> None:
    start = store.version
    first = store.create(ref("one"), service(a=1))
    store.create(ref("two", "elsewhere"), service())
    store.update(ref("one"), service(a=2))
    store.delete(ref("one"))
    story = store.changes(GROUP, RESOURCE, start)
    assert [(change.type, change.ref.name) for change in story] == [
        ("ADDED", "one"),
        ("ADDED", "two"),
        ("MODIFIED", "one"),
        ("DELETED", "one"),
    ]
    assert store.at(story[2].previous) == first
    assert story[3].object["spec"] == {"a": 2}
    assert story[3].object["metadata"]["resourceVersion"] == str(store.version)
    assert [change.ref.name for change in store.changes(GROUP, RESOURCE, start, "elsewhere")] == ["two"]
    assert store.changes(GROUP, RESOURCE, store.version) == []
    assert store.changes(GROUP, "servingruntimes", start) == []
    with pytest.raises(Gone):
        store.changes(GROUP, RESOURCE, store.version + 1)


def test_the_log_is_trimmed_and_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "colonnade.db", history=16)
    for number in range(100):
        store.create(ref(f"n{number}"), service())
    with pytest.raises(Gone, match="too old resource version: 1"):
        store.changes(GROUP, RESOURCE, 1)
    kept = store.changes(GROUP, RESOURCE, store.floor)
    assert 16 <= len(kept) <= 18
    assert len(store.list(GROUP, RESOURCE)[0]) == 100
    store.close()


def test_subscribers_hear_commits_in_order_even_when_they_write(store: Store) -> None:
    heard: list[tuple[str, str]] = []

    def answers(change: Change) -> None:
        if change.ref.name == "one":
            store.create(ref("two"), service())

    def fails(change: Change) -> None:
        raise ValueError(change)

    store.subscribe(answers)
    store.subscribe(fails)
    stop = store.subscribe(lambda change: heard.append((change.type, change.ref.name)))
    store.create(ref("one"), service())
    stop()
    store.create(ref("three"), service())
    assert heard == [("ADDED", "one"), ("ADDED", "two")]


async def test_a_watch_sees_what_was_and_what_comes(store: Store) -> None:
    start = store.version
    store.create(ref("before"), service())
    watch = store.watch(GROUP, RESOURCE, start)
    assert (await anext(watch)).ref.name == "before"
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    store.create(Ref("", "configmaps", "default", "other"), service())
    await asyncio.to_thread(store.create, ref("after"), service())
    assert (await asyncio.wait_for(waiting, 10)).ref.name == "after"
    assert watch.version == store.version
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 10)


async def test_a_slow_watch_reads_from_the_log_and_an_idle_one_never_expires(tmp_path: Path) -> None:
    store = Store(tmp_path / "colonnade.db", history=300)
    slow = store.watch(GROUP, RESOURCE, store.version)
    idle = store.watch(GROUP, RESOURCE, store.version, "elsewhere")
    lost = store.watch(GROUP, RESOURCE, store.version)
    reading = asyncio.ensure_future(anext(idle))
    await asyncio.sleep(0)
    for number in range(270):
        store.create(ref(f"n{number}"), service())
    assert [(await anext(slow)).ref.name for _ in range(270)] == [f"n{number}" for number in range(270)]
    for number in range(270):
        store.delete(ref(f"n{number}"))
    store.create(ref("late", "elsewhere"), service())
    assert (await asyncio.wait_for(reading, 10)).ref.name == "late"
    with pytest.raises(Gone):
        await anext(lost)
    ended = asyncio.ensure_future(anext(idle))
    await asyncio.sleep(0)
    store.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(ended, 10)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["create", "update", "delete"]), st.sampled_from("abc"), st.integers(0, 3))))
def test_replaying_the_log_gives_the_list(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, str, int]]
) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "colonnade.db")
    start = store.version
    for action, name, value in story:
        try:
            if action == "create":
                store.create(ref(name), service(a=value))
            elif action == "update":
                store.update(ref(name), service(a=value))
            else:
                store.delete(ref(name))
        except (AlreadyExists, NotFound):
            pass
    replayed: dict[str, dict[str, Any]] = {}
    for change in store.changes(GROUP, RESOURCE, start):
        if change.type == "DELETED":
            del replayed[change.ref.name]
        else:
            replayed[change.ref.name] = change.object
    listed, version = store.list(GROUP, RESOURCE)
    assert listed == [replayed[name] for name in sorted(replayed)]
    assert version == store.version
    store.close()
