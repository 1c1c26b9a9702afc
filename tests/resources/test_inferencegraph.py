"""The rules of a graph, with KServe's texts, and what becomes of each of its fields."""
# ruff: noqa: E501  a case of a table is one line

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade import defaults
from colonnade.errors import Invalid
from colonnade.resources import columns, graph_steps, kinds
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, RUNS, UNKNOWN
from colonnade.resources.inferencegraph import InferenceGraph, InferenceRouter, parse, url_failure
from colonnade.resources.shape import Record, shape_of
from colonnade.resources.validation import validate
from colonnade.resources.verdicts import check, check_text

NAME = "flow"


def graph(nodes: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": NAME, "annotations": annotations or {}}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": metadata,
        "spec": {"nodes": nodes, **spec},
    }


def node(kind: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"routerType": kind, "steps": list(steps)}


A = {"serviceName": "a"}


def causes(obj: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        validate(obj)
    except Invalid as error:
        return list(error.causes)
    return []


NO_ROOT = "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph"


@pytest.mark.parametrize(
    ("nodes", "field", "text"),
    [
        ({"first": node("Sequence", A)}, "spec.nodes", NO_ROOT),
        ({"root": node("Splitter", A | {"weight": 50}, A | {"weight": 40})}, "spec.nodes.root.steps", "InferenceGraph[flow] Node[root] splitter node: the sum of traffic weights for all routing targets should be 100"),
        ({"root": node("Splitter", A | {"weight": 100}, {"serviceName": "b"})}, "spec.nodes.root.steps[1].weight", "InferenceGraph[flow] Node[root] Route[b] missing the 'Weight'"),
        ({"root": node("Sequence", {"name": "s"})}, "spec.nodes.root.steps[0]", 'Step 0 ("s") in node "root" of InferenceGraph "flow" does not specify an inference target'),
        ({"root": node("Sequence", A | {"serviceUrl": "http://x"})}, "spec.nodes.root.steps[0]", 'Step 0 ("") in node "root" of InferenceGraph "flow" specifies more than one of nodeName, serviceName, serviceUrl'),
        ({"root": node("Sequence", A | {"name": "s"}, A | {"name": "s"})}, "spec.nodes.root.steps[1].name", 'Node "root" of InferenceGraph "flow" contains more than one step with name "s"'),
        ({"root": node("Sequence")}, "spec.nodes.root.steps", 'Node "root" of InferenceGraph "flow" has no steps; give it at least one'),
        ({"root": node("Sequence", {"nodeName": "othr"}), "other": node("Sequence", A)}, "spec.nodes.root.steps[0].nodeName", "node 'othr' is not in spec.nodes; did you mean other?"),
        ({"root": node("Sequence", {"nodeName": "root"})}, "spec.nodes.root.steps", "the nodes root -> root lead back to where they began; a graph must end"),
        ({"root": node("Sequence", A, {"nodeName": "x"}), "x": node("Switch", {"nodeName": "y"}), "y": node("Sequence", {"nodeName": "x"})}, "spec.nodes.y.steps", "the nodes x -> y -> x lead back to where they began; a graph must end"),
        ({"root": node("Splitter", A | {"weight": 150}, A | {"weight": -50})}, "spec.nodes.root.steps[1].weight", "weight cannot be less than 0, not -50; give percent"),
        ({"root": node("Sequence", A | {"condition": "x" * 4097})}, "spec.nodes.root.steps[0].condition", "a condition has at most 4096 characters"),
        ({"root": node("Sequence", *[A] * 257)}, "spec.nodes", "one request can make 257 calls; 256 are allowed"),
    ],
)  # fmt: skip
def test_rules(nodes: dict[str, Any], field: str, text: str) -> None:
    assert causes(graph(nodes)) == [(field, text)]


@pytest.mark.parametrize("name", ["Flow", "1flow", "flow-", "a_b"])
def test_names(name: str) -> None:
    obj = graph({"root": node("Sequence", A)})
    obj["metadata"]["name"] = name
    text = (
        f'The InferenceGraph "{name}" is invalid: a InferenceGraph name must consist of lower case alphanumeric '
        'characters or \'-\', and must start with alphabetical character. (e.g. "my-name" or "abc-123", '
        "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    )
    assert ("metadata.name", text) in causes(obj)


def test_calls_and_depth_are_counted_as_they_would_be_made() -> None:
    doubling: dict[str, Any] = {"root": node("Ensemble", {"nodeName": "n0"}, {"nodeName": "n0"})}
    for at in range(10):
        doubling[f"n{at}"] = node("Ensemble", {"nodeName": f"n{at + 1}"}, {"nodeName": f"n{at + 1}"})
    doubling["n10"] = node("Sequence", A)
    assert causes(graph(doubling)) == [("spec.nodes", "one request can make 2048 calls; 256 are allowed")]
    choosing = {name: {**one, "routerType": "Switch"} for name, one in doubling.items()}
    assert causes(graph(choosing)) == []  # one of two, each time
    deep = {("root" if at == 0 else f"n{at}"): node("Sequence", {"nodeName": f"n{at + 1}"}) for at in range(40)}
    deep["n40"] = node("Sequence", A)
    assert causes(graph(deep)) == [("spec.nodes", "nodes lie 41 deep in each other; 32 are allowed")]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3), max_size=6),
    st.lists(st.sampled_from("abcdefg"), max_size=3),
)
def test_every_graph_is_judged(inner: dict[str, list[str]], first: list[str]) -> None:
    nodes = {name: node("Ensemble", A, *({"nodeName": other} for other in others)) for name, others in inner.items()}
    found = causes(graph({"root": node("Sequence", *({"nodeName": other} for other in first)), **nodes}))
    known = {"root", *inner}
    reaches = {name: set(inner.get(name, ())) & known for name in known} | {"root": set(first) & known}
    if all(other in known for others in [*inner.values(), first] for other in others) and first:
        for _ in known:
            reaches = {name: below | {x for other in below for x in reaches[other]} for name, below in reaches.items()}
        assert any("lead back" in text for _, text in found) == any(name in reaches[name] for name in known)


def test_limits_of_steps() -> None:
    nodes = {"root": node("Sequence", A | {"name": "rank"}, A), "in": node("Sequence", A)}
    routers = parse(graph(nodes)).spec.nodes
    text = "10s, root/rank=500ms,root/1=1.5,in/0=2m"
    read = graph_steps.timeouts({defaults.STEP_TIMEOUT: text}, routers)
    assert read == {"root/rank": 0.5, "root/1": 1.5, "in/0": 120.0}
    assert graph_steps.timeouts({defaults.STEP_TIMEOUT: "root/0=3"}, routers) == {"root/rank": 3.0}
    assert graph_steps.retries({defaults.STEP_RETRIES: "root/rank=2,1"}, routers) == {
        "root/rank": 2,
        "root/1": 1,
        "in/0": 1,
    }
    assert graph_steps.retries({}, routers) == {}


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        (defaults.STEP_TIMEOUT, "root/x=1s", "'root/x' is no step of the graph; its steps are root/0"),
        (defaults.STEP_TIMEOUT, "soon", "'soon' is not a time; write 500ms, 2s or 1m"),
        (defaults.STEP_TIMEOUT, "0s", "'0s' is not a time; write 500ms, 2s or 1m"),
        (defaults.STEP_TIMEOUT, "root/0=", "'' is not a time; write 500ms, 2s or 1m"),
        (defaults.STEP_RETRIES, "11", "'11' is not a number of retries; write 0 to 10"),
        (defaults.STEP_RETRIES, "-1", "'-1' is not a number of retries; write 0 to 10"),
    ],
)
def test_malformed_limits_of_steps(key: str, text: str, why: str) -> None:
    found = causes(graph({"root": node("Sequence", A)}, {key: text}))
    assert found == [(f"metadata.annotations[{key}]", why)]


@given(st.text(max_size=30))
def test_every_text_of_a_limit_is_read_or_refused(text: str) -> None:
    routers = {"root": InferenceRouter("Sequence", [])}
    for read in (graph_steps.timeouts, graph_steps.retries):
        try:
            found = read({defaults.STEP_TIMEOUT: text, defaults.STEP_RETRIES: text}, routers)
        except ValueError:
            continue
        assert found == {}


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("http://a.b", True),
        ("https://a.b:8443/v1/models/x:predict?q=1", True),
        ("http://[::1]:80/", True),
        ("ftp://a.b", False),
        ("a.b/c", False),
        ("http://", False),
        ("http://a:99999/", False),
        ("http://a:x/", False),
        ("http://a.{$your-domain}/x", False),
        ("http://a b/", False),
        ("http://a/\r\nx: y", False),
        ("http://user:pass@a.b/", False),
        ("http://[::1/", False),
    ],
)
def test_urls(url: str, usable: bool) -> None:
    assert (url_failure(url) is None) is usable


@given(st.text(max_size=40))
def test_every_text_is_a_url_or_not(url: str) -> None:
    url_failure(url)
    url_failure(f"http://{url}")


def test_negative_limits() -> None:
    spec = {"timeout": -1, "routerTimeouts": {"serviceClient": -2}}
    assert [field for field, _ in causes(graph({"root": node("Sequence", A)}, **spec))] == [
        "spec.timeout",
        "spec.routerTimeouts.serviceClient",
    ]


def test_the_kind_has_kserves_names_columns_and_fields(kserve: Path) -> None:
    crd = yaml.safe_load(gzip.decompress((kserve / "crds" / "inferencegraphs.yaml.gz").read_bytes()))["spec"]
    kind = kinds.INFERENCE_GRAPH
    assert (kind.plural, kind.singular, list(kind.short_names)) == tuple(
        crd["names"][name] for name in ("plural", "singular", "shortNames")
    )
    wanted = [column["name"] for column in crd["versions"][0]["additionalPrinterColumns"]]
    assert [column.name for column in kind.columns] == ["Name", *wanted]
    schema = crd["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    shape = shape_of(InferenceGraph)
    for part in ("spec", "status"):
        below = shape.properties[part].shape
        assert isinstance(below, Record)
        assert set(below.properties) == set(schema[part]["properties"])
    routers = shape_of(InferenceRouter)
    steps = schema["spec"]["properties"]["nodes"]["additionalProperties"]["properties"]["steps"]["items"]["properties"]
    assert set(
        shape_of(type(parse(graph({"root": node("Sequence", A)})).spec.nodes["root"].steps[0])).properties
    ) == set(steps)  # type: ignore[index]
    assert set(routers.properties) == {"routerType", "steps"}


def test_columns() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    obj = {
        "metadata": {"name": NAME, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"url": "http://x", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert columns.cells(kinds.INFERENCE_GRAPH, obj, now) == [NAME, "http://x", "True", "60s"]
    assert columns.cells(kinds.INFERENCE_GRAPH, {"metadata": {"name": NAME}}, now) == [NAME, None, None, "<unknown>"]


def test_every_field_has_a_verdict() -> None:
    step = {
        "name": "s",
        "serviceUrl": "http://a.{$domain}/",
        "data": "$request",
        "condition": "x",
        "dependency": "Hard",
        "mapPredictionsToInstances": True,
    }
    obj = graph(
        {
            "root": node("Sequence", step, {"nodeName": "in", "data": "other"}, {"serviceNam": "x"}),
            "in": node("Splitter", A | {"weight": 100}),
        },
        timeout=5,
        routerTimeouts={"serverRead": 1, "serverWrite": 1, "serverIdle": 1, "serviceClient": 1},
        resources={"limits": {"cpu": "1"}},
        minReplicas=1,
        affinity={"x": {}},
        tolerations=[{"key": "a"}],
        nodeSelector={"a": "b"},
        serviceAccountName="x",
    )
    found = {field.path: field.verdict for field in check(obj) if field.path.startswith("spec.")}
    first = "spec.nodes.root.steps[0]"
    assert found.pop(f"{first}.serviceUrl") == CLUSTER_ONLY
    assert found.pop("spec.nodes.root.steps[2].serviceNam") == UNKNOWN
    emulated = {path for path, verdict in found.items() if verdict == EMULATED}
    assert emulated == {
        "spec.nodes.root.steps[1].data",
        "spec.routerTimeouts.serverRead",
        "spec.routerTimeouts.serverIdle",
        "spec.resources.limits.cpu",
        "spec.minReplicas",
        "spec.affinity.x",
        "spec.tolerations[0].key",
        "spec.nodeSelector.a",
        "spec.serviceAccountName",
    }
    assert {verdict for path, verdict in found.items() if path not in emulated} == {RUNS}


def test_kserves_samples_are_judged(kserve: Path) -> None:
    for file in sorted((kserve / "samples").glob("graph_*.yaml")):
        for document in check_text(file.read_text(), file.name):
            assert document.object is not None
            if document.object["kind"] == "InferenceGraph":
                assert causes(document.object) == []
                assert all(field.verdict != UNKNOWN for field in document.fields)
