"""What makes a new revision and what does not; how numbers are counted; how a revision is stored."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade import defaults
from colonnade.control.workload import components, revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision

from ..kserve_objects import isvc

MODEL = {"storageUri": "/models/iris"}


def digest(service: dict[str, Any], runtime: object = None) -> str:
    return revisions.digest(components.template(service, next(components.of(service))), runtime)


BASE = digest(isvc({"sklearn": MODEL}))


@pytest.mark.parametrize(
    "fields",
    [
        {"minReplicas": 3},
        {"maxReplicas": 5},
        {"timeout": 3},
        {"canaryTrafficPercent": 10},
        {"scaleTarget": 1},
        {"name": "blue"},
    ],
)
def test_scale_and_routing_make_no_revision(fields: dict[str, Any]) -> None:
    assert digest(isvc({"sklearn": MODEL, **fields})) == BASE


@pytest.mark.parametrize(
    "predictor",
    [
        {"sklearn": {"storageUri": "/models/other"}},
        {"sklearn": {**MODEL, "env": [{"name": "A", "value": "1"}]}},
        {"xgboost": MODEL},
        {"sklearn": MODEL, "labels": {"a": "b"}},
    ],
)
def test_what_a_replica_is_made_of_makes_one(predictor: dict[str, Any]) -> None:
    assert digest(isvc(predictor)) != BASE


def test_consent_and_the_runtime_make_one_and_the_order_of_keys_does_not() -> None:
    assert digest(isvc({"sklearn": MODEL}, annotations={defaults.TRUST_CODE: "true"})) != BASE
    assert digest(isvc({"sklearn": MODEL}, annotations={"team": "a"})) == BASE
    assert digest(isvc({"sklearn": MODEL}), {"containers": []}) != BASE
    one = isvc({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "/m"}})
    other = isvc({"model": {"storageUri": "/m", "modelFormat": {"name": "sklearn"}}})
    assert digest(one) == digest(other)


STABLE, BLUE, TRANSFORMER = (
    Component("predictor", "", {}),
    Component("predictor", "blue", {}),
    Component("transformer", "", {}),
)


def known(*found: tuple[Component, int, str]) -> list[Revision]:
    return [Revision("iris", component, number, content) for component, number, content in found]


@pytest.mark.parametrize(
    ("component", "content", "history", "name"),
    [
        pytest.param(STABLE, "a", known(), "iris-predictor-00001", id="the first"),
        pytest.param(STABLE, "a", known((STABLE, 1, "a")), "iris-predictor-00001", id="the same content"),
        pytest.param(STABLE, "b", known((STABLE, 1, "a")), "iris-predictor-00002", id="another content"),
        pytest.param(
            STABLE, "a", known((STABLE, 1, "a"), (STABLE, 2, "b")), "iris-predictor-00003",
            id="an earlier content is a new revision, as in Knative",
        ),
        pytest.param(STABLE, "c", known((STABLE, 7, "b")), "iris-predictor-00008", id="numbers are not reused"),
        pytest.param(BLUE, "b", known((STABLE, 1, "a")), "iris-blue-predictor-00002", id="variants count, too"),
        pytest.param(
            BLUE, "b", known((STABLE, 1, "a"), (BLUE, 2, "b"), (STABLE, 3, "c")), "iris-blue-predictor-00002",
            id="promoted: the variant's revision becomes the stable one",
        ),
        pytest.param(TRANSFORMER, "a", known((STABLE, 4, "a")), "iris-transformer-00001", id="components apart"),
    ],
)  # fmt: skip
def test_which_revision_a_content_is(component: Component, content: str, history: list[Revision], name: str) -> None:
    assert revisions.wanted("iris", component, {}, content, history).name == name


def named(number: int) -> str:
    return f"iris-predictor-{number:05d}"


@pytest.mark.parametrize(
    ("content", "running", "name", "order"),
    [
        pytest.param("a", "", named(5), 5, id="it runs no more: a new revision, as in Knative"),
        pytest.param("a", named(1), named(1), 5, id="it runs: the newest again"),
        pytest.param("b", named(1) + named(2), named(2), 5, id="the one of that content, of several that run"),
        pytest.param("c", named(3), named(5), 5, id="an analysis rejected it: one may try again with a new one"),
        pytest.param("f", named(6), named(5), 5, id="it failed: likewise"),
        pytest.param("d", "", named(4), 4, id="the newest is the newest"),
    ],
)
def test_whoever_goes_back_to_what_runs_gets_that(content: str, running: str, name: str, order: int) -> None:
    history = [
        *known((STABLE, 1, "a"), (STABLE, 2, "b"), (STABLE, 4, "d")),
        Revision("iris", STABLE, 3, "c", rejected="too many errors"),
        Revision("iris", STABLE, 0, "f", fell="exit code 9"),
    ]
    found = revisions.wanted("iris", STABLE, {}, content, history, running)
    assert (found.name, found.order) == (name, order)


def test_a_number_is_not_given_twice_whoever_went_back() -> None:
    back = Revision("iris", STABLE, 1, "a", renumbered=3)
    history = [back, *known((STABLE, 2, "b"))]
    assert revisions.newest(history) == back
    assert revisions.wanted("iris", STABLE, {}, "c", history, back.name).name == named(4)
    assert revisions.wanted("iris", STABLE, {}, "a", history).order == 3
    service = isvc({"sklearn": MODEL})
    stored = revisions.stored(service, Revision("iris", STABLE, 1, "a", {"spec": {}}, renumbered=3))
    assert (stored["metadata"]["name"], stored["revision"]) == (named(1), 3)
    read = revisions.read(stored)
    assert (read.number, read.order, read.name) == (1, 3, named(1))


def test_a_revision_is_stored_whole() -> None:
    service = isvc({"sklearn": MODEL, "minReplicas": 2}, annotations={defaults.TRUST_CODE: "true", "team": "a"})
    component = next(components.of(service))
    made = components.template(service, component)
    revision = revisions.wanted("iris", component, made, "abc", [])
    stored = revisions.stored(service, revision)
    assert (stored["apiVersion"], stored["kind"], stored["revision"]) == ("apps/v1", "ControllerRevision", 1)
    assert revisions.service_of(stored) == "iris"
    assert revisions.owned(stored, service)
    read = revisions.read(stored)
    assert (read.name, read.digest, read.template) == (revision.name, "abc", made)
    assert not read.proven
    changed = isvc({"xgboost": MODEL, "minReplicas": 5}, annotations={"team": "b"})
    again = components.restored(changed, next(components.of(changed)), read.template)
    assert again["spec"]["predictor"]["model"]["modelFormat"] == {"name": "sklearn"}
    assert again["spec"]["predictor"]["minReplicas"] == 5
    assert again["metadata"]["annotations"] == {"team": "b", defaults.TRUST_CODE: "true"}
    assert digest(again) == digest(service)


def test_pods_are_named_after_their_revision() -> None:
    assert revisions.pod_name(Revision("iris", BLUE, 2, "x")).startswith("iris-blue-predictor-00002-deployment-")
