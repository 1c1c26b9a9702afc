"""From a pod to a process: the kubelet's rules for variables, sockets and probes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.templates import replica
from colonnade.control.templates.replica import Misconfigured, Place, expand, probe_of, spec_of
from colonnade.platforms.base import Probe

PLACE = Place("/run/a.sock", "/run/a.grpc", 4567, "/state/t.json")
DATA = {("secrets", "s"): {"password": "p$(A)"}, ("configmaps", "c"): {"LEVEL": "debug"}}


def pod(container: dict[str, Any], transport: str = "port") -> dict[str, Any]:
    return {
        "metadata": {
            "name": "p",
            "namespace": "ns",
            "labels": {"app": "x"},
            "annotations": {"colonnade.dev/transport": transport, "colonnade.dev/model": "iris"},
        },
        "spec": {"containers": [{"name": "c", "command": ["run"], **container}], "terminationGracePeriodSeconds": 7},
    }


def spec(container: dict[str, Any], transport: str = "port") -> replica.ReplicaSpec:
    return spec_of(pod(container, transport), PLACE, lambda resource, name: DATA.get((resource, name)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("$", "$"),
    ],
)
def test_expansion_is_that_of_kubernetes(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == value


def test_the_predictors_address_is_known_or_waited_for() -> None:
    words = {"args": ["--predictor_host", "$(COLONNADE_PREDICTOR_HOST)"]}
    with pytest.raises(Misconfigured, match="the predictor's address is not known yet"):
        spec(words, "ports")
    found = spec_of(pod(words, "ports"), PLACE._replace(predictor=4711), lambda resource, name: None)
    assert found.argv == ("run", "--predictor_host", "127.0.0.1:4711")


def test_variables_see_those_before_them_and_values_of_secrets_are_not_expanded() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "3"},
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": True}}},
    ]
    found = spec({"env": env, "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "X_"}], "args": ["$(PORT)"]})
    assert found.argv == ("run", "4567")
    assert {key: found.env[key] for key in ("A", "B", "P", "N", "X_LEVEL")} == {
        "A": "1",
        "B": "1$(C)",
        "P": "p$(A)",
        "N": "x",
        "X_LEVEL": "debug",
    }
    assert "O" not in found.env
    assert found.grace == 7.0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, "secrets 'none' not found"),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "no key 'k'"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "resourceFieldRef"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        spec({"env": [{"name": "A", "valueFrom": source}]})


@pytest.mark.parametrize(
    ("transport", "http", "grpc"),
    [
        ("socket", "unix:/run/a.sock", "unix:/run/a.grpc"),
        ("port", "127.0.0.1:4567", None),
        ("h2c", "127.0.0.1:4567", "127.0.0.1:4567"),
    ],
)
def test_where_a_replica_listens(transport: str, http: str, grpc: str | None) -> None:
    found = spec({"command": ["$(COLONNADE_PYTHON)"]}, transport)
    assert (found.http, found.grpc, found.argv) == (http, grpc, (sys.executable,))
    assert ("PORT" in found.env) is (transport != "socket")


@pytest.mark.parametrize(
    ("wanted", "transport", "kind", "paths"),
    [
        ({}, "socket", "http", ("/v2/health/ready",)),
        ({}, "port", "http", ("/v2/health/ready", "/v1/models/iris", "/")),
        ({}, "h2c", "tcp", ()),
        ({"httpGet": {"path": "up", "port": 80}}, "port", "http", ("/up",)),
        ({"httpGet": {"path": "/v1/models/x"}}, "socket", "http", ("/v1/models/x",)),
        ({"tcpSocket": {"port": 80}}, "port", "tcp", ()),
        ({"tcpSocket": {"port": 80}}, "socket", "http", ("/v2/health/ready",)),
        ({"exec": {"command": ["true"]}}, "port", "exec", ()),
    ],
)
def test_readiness_asks_the_protocol_unless_told_otherwise(
    wanted: dict[str, Any], transport: str, kind: str, paths: tuple[str, ...]
) -> None:
    found = probe_of(wanted, "a:1", transport, "iris")
    assert (found.kind, found.paths) == (kind, paths)


def test_a_probe_keeps_its_times() -> None:
    wanted = {"timeoutSeconds": 9, "failureThreshold": 5, "initialDelaySeconds": 4}
    found = probe_of(wanted, "a:1", "port", "m")
    assert (found.timeout, found.failures, found.initial_delay) == (9.0, 5, 4.0)


@pytest.mark.parametrize(
    ("wanted", "transport", "expected"),
    [
        ({}, "port", None),
        ({"httpGet": {"path": "up", "port": 80}}, "port", Probe("http", paths=("/up",))),
        ({"tcpSocket": {"port": 80}}, "port", Probe("tcp")),
        ({"tcpSocket": {"port": 80}}, "socket", Probe("http", paths=("/v2/health/live",))),
        ({"exec": {"command": ["a", "b"]}}, "socket", Probe("exec", command=("a", "b"))),
    ],
)
def test_liveness_is_asked_only_if_it_is_wanted(wanted: dict[str, Any], transport: str, expected: Probe | None) -> None:
    found = spec({"livenessProbe": wanted}, transport).liveness
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.kind, found.paths, found.command) == (expected.kind, expected.paths, expected.command)
    assert (found.timeout, found.failures, found.initial_delay, found.period) == (1.0, 3, 0.0, 10.0)
    assert not found.once_ready


def test_liveness_keeps_its_times_and_waits_for_a_startup_probe() -> None:
    wanted = {"exec": {"command": ["a"]}, "timeoutSeconds": 9, "failureThreshold": 5, "initialDelaySeconds": 4}
    found = spec({"livenessProbe": {**wanted, "periodSeconds": 2}, "startupProbe": {"exec": {}}}).liveness
    assert found is not None
    assert (found.timeout, found.failures, found.initial_delay, found.period) == (9.0, 5, 4.0, 2.0)
    assert found.once_ready


def test_sockets_are_short_and_of_one_pod_only() -> None:
    names = [replica.sockets(Path("/run"), "ns", name, uid) for name, uid in (("a", "1"), ("a", "2"), ("b", "1"))]
    assert len(set(names)) == 3
    assert all(len(path) == len("/run/12345678.sock") for pair in names for path in pair)
