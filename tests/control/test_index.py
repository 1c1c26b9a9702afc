"""What belongs to each service, at hand."""

from __future__ import annotations

from pathlib import Path

from colonnade.control.index import Index
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workload import revisions
from colonnade.control.workqueue import Key

from .kserve_objects import isvc, pod, revision

IRIS = Key("ns", "iris")
SERVICE = Ref("serving.kserve.io", "inferenceservices", *IRIS)


def test_it_knows_what_was_stored_before_and_follows_what_comes(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.create(SERVICE, isvc())
    store.create(Ref("", "pods", "ns", "a"), pod("a"))
    index = Index(store)
    assert [each["metadata"]["name"] for each in index.pods(IRIS)] == ["a"]
    store.create(Ref("", "pods", "ns", "b"), pod("b", 2))
    stored = revisions.stored(isvc(), revision(2))
    store.create(Ref("apps", "controllerrevisions", "ns", stored["metadata"]["name"]), stored)
    assert [each["metadata"]["name"] for each in index.pods(IRIS)] == ["a", "b"]
    assert [each["revision"] for each in index.revisions(IRIS)] == [2]
    assert index.service(IRIS) == store.get(SERVICE)
    found = store.get(SERVICE)
    assert found is not None
    changed = store.update(SERVICE, {**found, "spec": {"predictor": {"minReplicas": 3}}})
    assert index.service(IRIS) == changed


def test_what_is_left_of_a_service_is_known_until_it_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    index = Index(store)
    store.create(SERVICE, isvc())
    store.create(Ref("", "pods", "ns", "a"), pod("a"))
    store.delete(SERVICE)
    assert index.service(IRIS) is None
    assert index.keys() == [IRIS]
    store.delete(Ref("", "pods", "ns", "a"))
    assert index.keys() == []


def test_services_of_one_name_in_two_namespaces_are_two(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    index = Index(store)
    other = pod("a")
    other["metadata"]["namespace"] = "other"
    store.create(Ref("", "pods", "ns", "a"), pod("a"))
    store.create(Ref("", "pods", "other", "a"), other)
    assert len(index.pods(IRIS)) == len(index.pods(Key("other", "iris"))) == 1
    index.close()
    store.delete(Ref("", "pods", "ns", "a"))
    assert len(index.pods(IRIS)) == 1, "it listens no more"
