"""Whatever comes in, the API answers with its own words: never a 500, never a type name."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .api_cluster import SERVICES, Cluster, service, service_ref

FEW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = [
    "metadata", "name", "namespace", "labels", "annotations", "managedFields", "fieldsV1", "manager", "spec",
    "predictor", "model", "sklearn", "storageUri", "containers", "status", "apiVersion", "kind", "resourceVersion",
    "data", "stringData", "finalizers", "ownerReferences", "generateName", "uid", "$patch", "minReplicas", "env",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=15,
)
OBJECTS = st.fixed_dictionaries(
    {"metadata": st.just({"name": "fuzz"}) | VALUES, "spec": VALUES}, optional={"data": VALUES}
)
PATHS = [SERVICES, f"{SERVICES}/one", f"{SERVICES}/one/status"] + [
    f"/api/v1/namespaces{rest}" for rest in ("", "/default/configmaps", "/default/secrets", "/default/pods/x/log")
]
TYPES = [
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
]


@pytest.fixture(autouse=True)
def one(cluster: Cluster) -> None:
    cluster.store.create(service_ref("one"), service("one"))


def fine(cluster: Cluster, method: str, path: str, **more: Any) -> None:
    answer = cluster.http.request(method, path, **more)
    assert answer.status_code < 500 or answer.status_code == 504, answer.text
    assert "Error(" not in answer.text
    assert "Traceback" not in answer.text


@FEW
@given(
    st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
    st.sampled_from(PATHS),
    st.sampled_from(TYPES),
    OBJECTS | VALUES,
    st.sampled_from(["", "?fieldManager=f&force=true", "?dryRun=All", "?fieldValidation=Strict"]),
)
def test_bodies(cluster: Cluster, method: str, path: str, kind: str, body: Any, query: str) -> None:
    fine(cluster, method, path + query, content=json.dumps(body), headers={"Content-Type": kind})


@FEW
@given(st.sampled_from(["POST", "PATCH"]), st.sampled_from(PATHS), st.sampled_from(TYPES), st.binary(max_size=60))
def test_bytes(cluster: Cluster, method: str, path: str, kind: str, body: bytes) -> None:
    content = b"k8s\x00" + body if kind == TYPES[-1] else body
    fine(cluster, method, path, content=content, headers={"Content-Type": kind})


@FEW
@given(
    st.text(max_size=12) | st.sampled_from(PATHS),
    st.dictionaries(
        st.sampled_from(
            [
                "labelSelector",
                "fieldSelector",
                "limit",
                "continue",
                "resourceVersion",
                "resourceVersionMatch",
                "tailLines",
                "includeObject",
                "fieldManager",
                "dryRun",
                "sinceTime",
                "sinceSeconds",
                "sendInitialEvents",
            ]
        ),
        st.text(max_size=10) | st.sampled_from(["1", "0", "-1", "true", "9" * 30]),
        max_size=3,
    ),
)
def test_paths_and_queries(cluster: Cluster, path: str, query: dict[str, str]) -> None:
    fine(cluster, "GET", "/" + quote(path, safe="/%?&=").lstrip("/"), params=query)
