"""From graphs and services to the gateway's routes and the graphs' status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.events import Events
from colonnade.control.graphs import graph_routes
from colonnade.control.graphs.inferencegraphs import GROUP, RESOURCE, SETTINGS, InferenceGraphs
from colonnade.control.index import Index
from colonnade.control.objects import Ref
from colonnade.control.services.status import Place
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.gateway.routes import Route, RouteTable
from colonnade.graph.plan import Node, Plan, Step
from colonnade.resources.inferencegraph import parse

FLOW = Key("ns", "flow")
PLACE = Place("example.com", "http://127.0.0.1:80", "127.0.0.1:81")


def graph(*steps: dict[str, Any], kind: str = "Sequence", **changes: Any) -> dict[str, Any]:
    metadata = {"name": "flow", "namespace": "ns", "annotations": changes.pop("annotations", {})}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": metadata,
        "spec": {"nodes": {"root": {"routerType": kind, "steps": list(steps)}}, **changes},
    }


def service(name: str = "iris", protocol: str | None = None, ready: str | None = None) -> dict[str, Any]:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "/m"} | (
        {"protocolVersion": protocol} if protocol else {}
    )
    found: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"predictor": {"model": model}},
    }
    if ready:
        found["status"] = {"conditions": [{"type": "Ready", "status": ready}]}
    return found


class Controlled:
    """A store with what looks after its graphs."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "db")
        self.index = Index(self.store)
        self.looked: list[Key] = []
        self.graphs = InferenceGraphs(self.store, Events(self.store), self.index, "example.com", self.looked.append)
        self.graphs.place = PLACE

    def write(self, obj: dict[str, Any]) -> None:
        resource = RESOURCE if obj["kind"] == "InferenceGraph" else "inferenceservices"
        ref = Ref(GROUP, resource, "ns", obj["metadata"]["name"])
        status = obj.get("status")
        if self.store.get(ref) is None:
            self.store.create(ref, obj)
        else:
            self.store.update(ref, obj)
        if status is not None:
            stored = self.store.get(ref)
            assert stored is not None
            self.store.update(ref, {**stored, "status": status}, status=True)

    def routes(self, *services: Route) -> list[Route]:
        return self.graphs.routes(services)

    async def status(self, name: str = "flow") -> dict[str, Any]:
        await self.graphs.reconcile(Key("ns", name))
        found = self.store.get(Ref(GROUP, RESOURCE, "ns", name))
        assert found is not None
        return dict(found["status"])

    def route(self) -> None:
        self.graphs.pushed(RouteTable(1, tuple(self.routes())))


@pytest.fixture
def controlled(tmp_path: Path) -> Iterator[Controlled]:
    made = Controlled(tmp_path)
    yield made
    made.store.close()


def entry(name: str, model: str) -> Route:
    return Route("ns", name, model)


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (None, "/v1/models/my%20model:predict"),
        ("v1", "/v1/models/my%20model:predict"),
        ("v2", "/v2/models/my%20model/infer"),
        ("grpc-v2", "/v2/models/my%20model/infer"),
    ],
)
def test_what_a_service_is_asked_for(controlled: Controlled, protocol: str | None, path: str) -> None:
    controlled.write(service(protocol=protocol))
    controlled.write(graph({"serviceName": "iris"}))
    (route,) = controlled.routes(entry("iris", "my model"))
    assert route.graph == Plan({"root": Node("Sequence", (Step(service="iris", path=path),))})
    assert (route.ready, route.component, route.entry, route.timeout) == (True, "graph", True, None)
    assert route.hosts[:2] == ("flow-ns.example.com", "flow.ns.example.com")


def test_every_field_of_a_step_is_in_the_plan() -> None:
    step = {
        "name": "rank",
        "serviceName": "iris",
        "data": "$response",
        "condition": "a.b",
        "weight": 100,
        "dependency": "Hard",
        "mapPredictionsToInstances": True,
    }
    annotations = {"colonnade.dev/step-timeout": "1s,root/rank=250ms", "colonnade.dev/step-retries": "root/0=3"}
    obj = graph(step, {"serviceName": "iris"}, annotations=annotations, routerTimeouts={"serviceClient": 9})
    made = graph_routes.plan(parse(obj), {"iris": "/p"}, ("X-.*",))
    rank = Step(
        name="rank",
        service="iris",
        path="/p",
        takes_response=True,
        condition="a.b",
        weight=100,
        hard=True,
        maps_predictions=True,
        timeout=0.25,
        retries=3,
    )
    other = Step(service="iris", path="/p", timeout=1.0)
    assert made == Plan({"root": Node("Sequence", (rank, other))}, ("X-.*",), 9.0)


@pytest.mark.parametrize(
    ("spec", "timeout"),
    [
        ({}, None),
        ({"timeout": 5}, 5.0),
        ({"timeout": 0}, None),
        ({"routerTimeouts": {"serverWrite": 3}}, 3.0),
        ({"timeout": 5, "routerTimeouts": {"serverWrite": 8}}, 5.0),
        ({"routerTimeouts": {"serverRead": 1, "serverIdle": 1}}, None),
    ],
)
def test_the_limit_of_a_request(controlled: Controlled, spec: dict[str, Any], timeout: float | None) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}, **spec))
    assert controlled.routes()[0].timeout == timeout


def test_servers_elsewhere_have_routes_that_nobody_else_reaches(controlled: Controlled) -> None:
    urls = ["http://a.example.net/x", "http://a.example.net:80/y", "https://a.example.net/z", "http://{bad}/"]
    controlled.write(graph(*({"serviceUrl": url} for url in urls)))
    _, *far = controlled.routes()
    assert [route.component for route in far] == ["http://a.example.net:80", "https://a.example.net:443"]
    assert [(one.http, one.tls) for route in far for one in route.backends] == [
        ("a.example.net:80", False),
        ("a.example.net:443", True),
    ]
    assert not any(route.entry or route.hosts or route.port for route in far)


def test_headers_come_from_kserves_settings(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}))
    assert plan_of(controlled).headers == ()
    text = '{"image": "x", "headers": {"propagate": ["Authorization", "X-Tenant-.*"]}}'
    controlled.store.create(SETTINGS, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"router": text}})
    assert plan_of(controlled).headers == ("Authorization", "X-Tenant-.*")
    stored = controlled.store.get(SETTINGS)
    assert stored is not None
    controlled.store.update(SETTINGS, {**stored, "data": {"router": "no json"}})
    assert plan_of(controlled).headers == ()


def plan_of(controlled: Controlled) -> Plan:
    found = controlled.routes()[0].graph
    assert found is not None
    return found


def test_a_stopped_graph_takes_nothing(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}, annotations={"serving.kserve.io/stop": "true"}))
    route = controlled.routes()[0]
    assert (route.ready, route.reason) == (False, "it is stopped (annotation serving.kserve.io/stop)")


async def test_a_service_of_the_same_name_has_the_address(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}))
    controlled.write(service("flow"))
    assert controlled.routes(entry("flow", "flow")) == []
    found = await controlled.status()
    assert "url" not in found
    assert conditions(found)["Ready"][:2] == ("False", "NameTaken")


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {one["type"]: (one["status"], one.get("reason", ""), one.get("message", "")) for one in status["conditions"]}


async def test_a_graph_is_ready_when_its_services_are(controlled: Controlled) -> None:
    controlled.write(graph({"serviceName": "iris"}, {"serviceName": "other"}))
    found = await controlled.status()
    assert conditions(found)["Ready"] == (
        "False", "InferenceServiceNotFound", "Failed to find graph service iris",
    )  # fmt: skip
    assert conditions(found)["Stopped"] == ("False", "", "")
    controlled.write(service("iris", ready="True"))
    controlled.write(service("other", ready="Unknown"))
    found = await controlled.status()
    assert conditions(found)["Ready"] == ("Unknown", "InferenceServiceNotReady", "service other is not ready")
    controlled.write(service("other", ready="True"))
    assert conditions(await controlled.status())["Ready"][:2] == ("Unknown", "NotRouted")
    controlled.route()
    assert controlled.looked[-1] == FLOW
    found = await controlled.status()
    assert conditions(found)["Ready"] == ("True", "", "")
    assert (found["url"], found["observedGeneration"], found["deploymentMode"]) == (
        "http://flow-ns.example.com", 1, "Standard",
    )  # fmt: skip
    controlled.write(service("other", ready="False"))
    found = await controlled.status()
    assert conditions(found)["Ready"][0] == "False"
    assert found["url"] == "http://flow-ns.example.com"  # it is still served
    told = [event["reason"] for event in controlled.store.list("", "events")[0]]
    assert sorted(told) == ["InferenceGraphNotReady", "InferenceGraphReady"]


async def test_a_url_that_cannot_be_asked_is_named(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x.{$your-domain}/y"}))
    controlled.route()
    status, reason, message = conditions(await controlled.status())["Ready"]
    assert (status, reason) == ("False", "InvalidServiceUrl")
    assert message.startswith("spec.nodes.root.steps[0].serviceUrl: ")


async def test_a_stopped_graph_says_so(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}))
    controlled.route()
    assert (await controlled.status())["url"]
    controlled.write(graph({"serviceUrl": "http://x/"}, annotations={"serving.kserve.io/stop": "true"}))
    found = await controlled.status()
    assert (conditions(found)["Ready"][:2], conditions(found)["Stopped"][0]) == (("False", "Stopped"), "True")
    assert "url" not in found


async def test_nothing_is_written_where_nothing_changed(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}))
    before = await controlled.status()
    version = controlled.store.list(GROUP, RESOURCE)[1]
    assert await controlled.status() == before
    assert controlled.store.list(GROUP, RESOURCE)[1] == version


def test_which_graphs_a_service_concerns(controlled: Controlled) -> None:
    controlled.write(graph({"serviceName": "iris"}))
    assert controlled.graphs.naming(Key("ns", "iris")) == [FLOW]
    assert controlled.graphs.naming(Key("ns", "flow")) == [FLOW]
    assert controlled.graphs.naming(Key("other", "iris")) == []
    assert controlled.graphs.naming(Key("ns", "x")) == []


def test_a_deleted_graph_has_no_route(controlled: Controlled) -> None:
    controlled.write(graph({"serviceUrl": "http://x/"}))
    assert controlled.routes()
    controlled.store.delete(Ref(GROUP, RESOURCE, *FLOW))
    assert controlled.routes() == []
    assert list(controlled.graphs.keys()) == []


def test_a_graph_that_breaks_the_rules_of_this_version_spoils_no_other_route(controlled: Controlled) -> None:
    broken = graph({"serviceUrl": "http://x/"}, annotations={"colonnade.dev/step-timeout": "never"})
    controlled.write(broken)
    controlled.write({**graph({"serviceUrl": "http://y/"}), "metadata": {"name": "good", "namespace": "ns"}})
    assert {route.name for route in controlled.routes()} == {"good"}
