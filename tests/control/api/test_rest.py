"""The REST conventions themselves: statuses, versions, views, watches, as any client may rely on them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from colonnade.control.store import Ref

from .api_cluster import GROUP, SERVICES, Cluster, service, service_ref

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def make(cluster: Cluster, *names: str, **metadata: Any) -> dict[str, Any]:
    for name in names:
        made = cluster.http.post(SERVICES, json=service(name, **metadata))
        assert made.status_code == 201, made.text
    return dict(made.json())


def refused(answer: httpx.Response, code: int, reason: str, text: str = "") -> dict[str, Any]:
    status = answer.json()
    assert (answer.status_code, status["code"], status["reason"]) == (code, code, reason), answer.text
    assert status["kind"] == "Status"
    assert status["status"] == "Failure"
    assert text in status["message"]
    return dict(status)


def test_all_but_health_and_version_needs_the_token(cluster: Cluster) -> None:
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        for path in ("/api", SERVICES, "/metrics", "/openapi/v3", "/nothing"):
            refused(cluster.http.get(path, headers=headers), 401, "Unauthorized")
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert cluster.http.get(path, headers=headers).status_code == 200


def test_statuses_name_what_they_are_about(cluster: Cluster) -> None:
    status = refused(
        cluster.http.get(f"{SERVICES}/none"), 404, "NotFound", f'inferenceservices.{GROUP} "none" not found'
    )
    assert status["details"] == {"name": "none", "group": GROUP, "kind": "inferenceservices"}
    invalid = refused(
        cluster.http.post(SERVICES, json=service("x") | {"spec": {"predictor": {}}}), 422, "Invalid", "exactly one of"
    )
    assert invalid["details"]["causes"][0]["field"] == "spec.predictor"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/apis/serving.kserve.io/v1beta1/nothing", 404),
        ("GET", "/apis/serving.kserve.io/v9/inferenceservices", 404),
        ("GET", "/apis/other/v1", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/api/v1/namespaces/default/namespaces", 404),
        ("GET", "/apis/serving.kserve.io/v1beta1/inferenceservices/x", 404),
        ("GET", f"{SERVICES}/x/scale", 404),
        ("GET", "/api/v1/namespaces/default/pods/x/exec", 404),
        ("GET", "/openapi/v1", 404),
        ("POST", "/api/v1/namespaces/default/pods", 405),
        ("DELETE", "/api/v1/namespaces/default/pods/x", 405),
        ("POST", f"{SERVICES}/x", 405),
        ("DELETE", f"{SERVICES}/x/status", 405),
        ("PUT", SERVICES, 405),
        ("POST", "/apis/serving.kserve.io/v1beta1/inferenceservices", 405),
        ("POST", "/version", 405),
        ("GET", f"{SERVICES}/%ff", 400),
        ("GET", f"{SERVICES}/a%2fb", 400),
        ("GET", f"{SERVICES}?labelSelector=a%20b", 400),
        ("GET", f"{SERVICES}?fieldSelector=spec.x%3D1", 400),
        ("GET", f"{SERVICES}?limit=x", 400),
        ("GET", f"{SERVICES}?continue=x", 400),
        ("GET", f"{SERVICES}?resourceVersion=x", 400),
        ("GET", f"{SERVICES}?watch=maybe", 400),
        ("GET", f"{SERVICES}?resourceVersion=999999999", 504),
        ("GET", f"{SERVICES}?resourceVersionMatch=Exact", 422),
        ("GET", f"{SERVICES}?watch=1&resourceVersion=999999999", 410),
        ("POST", f"{SERVICES}?dryRun=Some", 422),
    ],
)
def test_what_is_refused(cluster: Cluster, method: str, path: str, code: int) -> None:
    answer = cluster.http.request(method, path, json=service("x") if method != "GET" else None)
    assert (answer.status_code, answer.json()["kind"]) == (code, "Status"), answer.text


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"kind":"Other"}', "application/json", 400),
        (b'{"apiVersion":"v9"}', "application/json", 400),
        (b'{"metadata":7}', "application/json", 400),
        (b'{"metadata":{"name":7}}', "application/json", 400),
        (b'{"metadata":{"name":"x","namespace":"other"}}', "application/json", 400),
        (b'{"metadata":{"name":"x","resourceVersion":"1"}}', "application/json", 400),
        (b'{"metadata":{}}', "application/json", 422),
        (b'{"metadata":{"name":"X_"}}', "application/json", 422),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", 400),
        (b"a: [", "application/yaml", 400),
        (b"\x80", "application/yaml", 400),
        (b"{}", "text/html", 415),
        (b"k8s\x00\xff", "application/vnd.kubernetes.protobuf", 400),
    ],
)
def test_bodies_that_are_refused(cluster: Cluster, body: bytes, kind: str, code: int) -> None:
    answer = cluster.http.post(SERVICES, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["kind"]) == (code, "Status"), answer.text


def test_yaml_bodies_and_generated_names(cluster: Cluster) -> None:
    text = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n"
        "metadata: {generateName: iris-, annotations: {day: 2026-01-01}}\n"
        "spec: {predictor: {sklearn: {storageUri: /m}}}\n"
    )
    made = [cluster.http.post(SERVICES, content=text, headers={"Content-Type": "application/yaml"}) for _ in range(2)]
    names = {answer.json()["metadata"]["name"] for answer in made}
    assert len(names) == 2
    assert all(name.startswith("iris-") and len(name) == 10 for name in names)
    assert made[0].json()["metadata"]["annotations"] == {"day": "2026-01-01"}


def test_unknown_fields(cluster: Cluster) -> None:
    odd = service("odd")
    odd["spec"]["predictor"]["modle"] = {}
    refused(
        cluster.http.post(SERVICES, json=odd, params={"fieldValidation": "Strict"}),
        400,
        "BadRequest",
        "strict decoding",
    )
    made = cluster.http.post(SERVICES, json=odd)
    assert made.headers["warning"] == '299 - "unknown field \\"spec.predictor.modle\\" (did you mean model?)"'
    assert made.json()["spec"]["predictor"]["modle"] == {}
    patch = {"metadata": {"labels": {"a": "b"}}}  # what was there before is not held against a later write
    again = cluster.http.patch(
        f"{SERVICES}/odd",
        content=json.dumps(patch),
        headers={"Content-Type": "application/merge-patch+json"},
        params={"fieldValidation": "Strict"},
    )
    assert again.status_code == 200
    assert "warning" not in again.headers


def test_status_is_written_apart(cluster: Cluster) -> None:
    made = make(cluster, "one")
    path = f"{SERVICES}/one"
    assert "status" not in cluster.http.put(path, json=made | {"status": {"a": 1}}).json()
    answer = cluster.http.put(f"{path}/status", json=made | {"status": {"a": 1}, "spec": {}})
    assert answer.json()["status"] == {"a": 1}
    assert answer.json()["spec"] == made["spec"]
    assert answer.json()["metadata"]["generation"] == 1
    merge = {"Content-Type": "application/merge-patch+json"}
    patched = cluster.http.patch(f"{path}/status", content='{"status":{"b":2},"spec":null}', headers=merge).json()
    assert patched["status"] == {"a": 1, "b": 2}
    assert patched["spec"] == made["spec"]
    assert cluster.http.get(f"{path}/status").json() == patched
    refused(cluster.http.put(f"{path}/status", json=made), 409, "Conflict", "the object has been modified")
    refused(cluster.http.patch(f"{path}/status", content='{"status":7}', headers=merge), 422, "Invalid")


def test_replacing_needs_the_version(cluster: Cluster) -> None:
    made = make(cluster, "one")
    path = f"{SERVICES}/one"
    refused(cluster.http.put(path, json=service("one")), 422, "Invalid", "must be specified for an update")
    refused(cluster.http.put(path, json=service("two")), 400, "BadRequest", "does not match the name on the URL")
    made["spec"]["predictor"]["minReplicas"] = 2
    changed = cluster.http.put(path, json=made).json()
    assert changed["metadata"]["generation"] == 2
    refused(cluster.http.put(path, json=made), 409, "Conflict", "the object has been modified")
    forms = {"application/strategic-merge-patch+json": 415, "text/plain": 415, "application/merge-patch+json": 409}
    for form, code in forms.items():
        body = {"metadata": {"resourceVersion": "1"}}
        answer = cluster.http.patch(path, content=json.dumps(body), headers={"Content-Type": form})
        assert answer.status_code == code, answer.text


def test_deleting(cluster: Cluster) -> None:
    made = make(cluster, "one")
    path = f"{SERVICES}/one"
    refused(cluster.http.request("DELETE", path, json={"preconditions": {"uid": "x"}}), 409, "Conflict")
    refused(cluster.http.delete(path, params={"propagationPolicy": "Orphan"}), 422, "Invalid")
    assert cluster.http.delete(path, params={"dryRun": "All"}).status_code == 200
    answer = cluster.http.request("DELETE", path, json={"propagationPolicy": "Foreground"}).json()
    assert answer["status"] == "Success"
    assert answer["details"]["uid"] == made["metadata"]["uid"]
    refused(cluster.http.delete(path), 404, "NotFound")
    make(cluster, "a", "b", labels={"x": "y"})
    make(cluster, "c")
    gone = cluster.http.delete(SERVICES, params={"labelSelector": "x=y"}).json()
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in cluster.http.get(SERVICES).json()["items"]] == ["c"]


def test_views(cluster: Cluster) -> None:
    make(cluster, "one", labels={"a": "b"})
    table = cluster.http.get(SERVICES, headers=TABLE).json()
    assert table["kind"] == "Table"
    assert table["columnDefinitions"][1]["name"] == "URL"
    assert table["rows"][0]["cells"][0] == "one"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = cluster.http.get(f"{SERVICES}/one", headers=TABLE, params={"includeObject": "Object"}).json()
    assert whole["rows"][0]["object"]["spec"]
    assert "object" not in cluster.http.get(SERVICES, headers=TABLE, params={"includeObject": "None"}).json()["rows"][0]
    partial = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    listed = cluster.http.get(SERVICES, headers=partial).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"apiVersion", "kind", "metadata"}
    refused(cluster.http.get(SERVICES, headers={"Accept": "text/html"}), 406, "NotAcceptable")
    protobuf_first = {"Accept": "application/vnd.kubernetes.protobuf,application/json"}
    assert cluster.http.get(SERVICES, headers=protobuf_first).json()["kind"] == "InferenceServiceList"


def test_old_lists_and_old_watches_are_gone(cluster: Cluster) -> None:
    make(cluster, "one")
    exact = {"resourceVersion": "1", "resourceVersionMatch": "Exact"}
    refused(cluster.http.get(SERVICES, params=exact), 410, "Expired", "too old")
    exact["resourceVersion"] = str(cluster.store.version)
    assert cluster.http.get(SERVICES, params=exact).status_code == 200


def test_chunks(cluster: Cluster) -> None:
    make(cluster, "a", "b", "c", "d", "e")
    first = cluster.http.get(SERVICES, params={"limit": "2"}).json()
    assert first["metadata"]["remainingItemCount"] == 3
    make(cluster, "aa")  # behind the token: a watch from the list's version will tell
    cluster.store.delete(service_ref("d"))
    names, page = [], first
    while token := page["metadata"].get("continue"):
        names += [item["metadata"]["name"] for item in page["items"]]
        page = cluster.http.get(SERVICES, params={"limit": "2", "continue": token}).json()
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    names += [item["metadata"]["name"] for item in page["items"]]
    assert names == ["a", "b", "c", "e"]


@contextmanager
def watching(cluster: Cluster, path: str = SERVICES, **parameters: str) -> Iterator[Iterator[dict[str, Any]]]:
    headers = TABLE if parameters.pop("table", "") else {}
    with cluster.http.stream("GET", path, params={"watch": "true", **parameters}, headers=headers) as answer:
        assert answer.status_code == 200
        yield (json.loads(line) for line in answer.iter_lines())


def brief(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"].get("name", "")


def test_watch_from_a_version_with_bookmarks_and_an_end(cluster: Cluster) -> None:
    made = make(cluster, "one")
    version = made["metadata"]["resourceVersion"]
    with watching(cluster, resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds="2") as events:
        mark = next(events)
        assert mark["type"] == "BOOKMARK"
        assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(version)
        make(cluster, "two")
        cluster.store.delete(service_ref("one"))
        seen = [event for event in events if event["type"] != "BOOKMARK"]  # until the timeout
        assert [brief(event) for event in seen] == [("ADDED", "two"), ("DELETED", "one")]
        assert seen[1]["object"]["metadata"]["resourceVersion"] > version


def test_watch_by_labels_sees_objects_come_and_go(cluster: Cluster) -> None:
    make(cluster, "one", labels={"a": "1"})
    make(cluster, "two")
    with watching(cluster, labelSelector="a=1") as events:
        assert brief(next(events)) == ("ADDED", "one")
        for labels in ({"a": "2"}, {"a": "3"}, {"a": "1"}, {"a": "1", "b": "2"}):
            changed = cluster.get("one")
            changed["metadata"]["labels"] = labels
            cluster.store.update(service_ref("one"), changed)
        cluster.store.delete(service_ref("two"))
        cluster.store.delete(service_ref("one"))
        seen = [brief(next(events)) for _ in range(4)]
        assert seen == [("DELETED", "one"), ("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


def test_watch_as_list(cluster: Cluster) -> None:
    make(cluster, "one")
    parameters = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with watching(cluster, **parameters) as events:
        assert brief(next(events)) == ("ADDED", "one")
        end = next(events)
        assert end["type"] == "BOOKMARK"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    with watching(cluster, table="yes") as events:
        assert next(events)["object"]["rows"][0]["cells"][0] == "one"


def test_a_watch_ends_with_its_client(cluster: Cluster) -> None:
    with watching(cluster):  # answered at once, though there is nothing to tell
        assert cluster.store.watches == 1
    deadline = time.monotonic() + 10
    while cluster.store.watches and time.monotonic() < deadline:
        cluster.http.get("/healthz")
    assert cluster.store.watches == 0


def test_a_namespace_goes_with_what_lies_in_it(cluster: Cluster) -> None:
    assert cluster.http.post("/api/v1/namespaces", json={"metadata": {"name": "team"}}).json()["status"] == {
        "phase": "Active"
    }
    path = SERVICES.replace("default", "team")
    assert cluster.http.post(path, json=service("one")).status_code == 201
    assert cluster.http.delete("/api/v1/namespaces/team").status_code == 200
    assert cluster.store.get(service_ref("one", "team")) is None
    refused(cluster.http.post(path, json=service("one")), 404, "NotFound", 'namespaces "team" not found')
    refused(cluster.http.delete("/api/v1/namespaces/default"), 403, "Forbidden")


def test_secrets(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/default/secrets"
    made = cluster.http.post(
        path, json={"metadata": {"name": "s"}, "data": {"a": "YQ=="}, "stringData": {"b": "b"}}
    ).json()
    assert made["data"] == {"a": "YQ==", "b": "Yg=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    refused(cluster.http.post(path, json={"metadata": {"name": "t"}, "data": {"a": "!"}}), 422, "Invalid", "data")


def test_logs(cluster: Cluster) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [{"name": "main"}]}}
    cluster.store.create(Ref("", "pods", "default", "p"), pod)
    paths = cluster.logs.log_paths("default/p")
    paths.previous.write_text("before\n")
    paths.current.write_text("2020-01-01T00:00:00Z old\n  more\n2999-01-01T00:00:00Z new\nlast")

    def read(**parameters: str) -> str:
        return cluster.http.get("/api/v1/namespaces/default/pods/p/log", params=parameters).text

    assert read(container="main").endswith("last")
    assert read(previous="true") == "before\n"
    assert read(tailLines="0") == ""
    assert read(tailLines="1") == "last"
    assert read(tailLines="2") == "2999-01-01T00:00:00Z new\nlast"
    assert read(sinceSeconds="60") == "2999-01-01T00:00:00Z new\nlast"
    assert read(sinceTime="2019-01-01T00:00:00Z", limitBytes="4") == "2020"
    for wrong in ({"tailLines": "-1"}, {"container": "x"}, {"timestamps": "true"}, {"sinceTime": "noon"}):
        refused(cluster.http.get("/api/v1/namespaces/default/pods/p/log", params=wrong), 400, "BadRequest")
    refused(cluster.http.get("/api/v1/namespaces/default/pods/q/log"), 404, "NotFound")


def test_discovery_in_both_forms(cluster: Cluster) -> None:
    both = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
    aggregated = cluster.http.get("/apis", headers=both)
    assert "g=apidiscovery.k8s.io" in aggregated.headers["content-type"]
    groups = {item["metadata"]["name"]: item for item in aggregated.json()["items"]}
    listed = groups[GROUP]["versions"][0]["resources"][0]
    assert (listed["resource"], listed["shortNames"], listed["scope"]) == ("inferenceservices", ["isvc"], "Namespaced")
    assert [group["name"] for group in cluster.http.get("/apis").json()["groups"]] == list(groups)
    plain = cluster.http.get(f"/apis/{GROUP}/v1beta1").json()
    assert {entry["name"] for entry in plain["resources"]} == {"inferenceservices", "inferenceservices/status"}
    index = cluster.http.get("/openapi/v3").json()["paths"]
    for entry in index.values():
        assert cluster.http.get(entry["serverRelativeURL"]).json()["openapi"].startswith("3.")
