"""A watch that falls behind what the store keeps is told so in the stream, as the answer has begun."""

from __future__ import annotations

import json
from pathlib import Path

from colonnade.control.api.paths import parameters, segments, target
from colonnade.control.api.reading import Reader
from colonnade.control.store import Store, utcnow

from .api_cluster import service, service_ref


async def test_falling_behind_ends_the_watch_with_410(tmp_path: Path) -> None:
    store = Store(tmp_path / "colonnade.db", history=4)
    reader = Reader(store, now=utcnow)
    about = target(segments("/apis/serving.kserve.io/v1beta1/inferenceservices"))
    response = reader.watch(about, "object", parameters(f"resourceVersion={store.version}"))
    assert response.stream is not None
    for number in range(20):
        store.create(service_ref(f"n{number}"), service(f"n{number}"))
    events = [json.loads(line) async for line in response.stream]
    assert [event["type"] for event in events] == ["ERROR"]
    assert events[0]["object"]["code"] == 410
    assert events[0]["object"]["reason"] == "Expired"
    assert store.watches == 0
    store.close()


async def test_a_closing_store_ends_its_watches(tmp_path: Path) -> None:
    store = Store(tmp_path / "colonnade.db")
    about = target(segments("/apis/serving.kserve.io/v1beta1/inferenceservices"))
    response = Reader(store, now=utcnow).watch(about, "object", {})
    store.create(service_ref("one"), service("one"))
    assert response.stream is not None
    assert json.loads(await anext(response.stream))["type"] == "ADDED"
    store.close()
    assert [line async for line in response.stream] == []
