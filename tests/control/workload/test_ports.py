"""Ports on which something of one service is reached without the ingress."""

from __future__ import annotations

import socket

import pytest

from colonnade import defaults
from colonnade.control.workload import ports as naming
from colonnade.control.workload.ports import DIRECT, Port, Ports
from colonnade.control.workqueue import Key
from colonnade.net.address import bound_socket

IRIS, OTHER = Port(Key("default", "iris"), DIRECT), Port(Key("default", "other"), DIRECT)


def test_a_port_is_kept_until_it_is_released() -> None:
    ports = Ports()
    port = ports.reserve(IRIS, None)
    assert ports.reserve(IRIS, None) == port == ports.port(IRIS)
    assert ports.reserve(OTHER, None) != port
    ports.release(IRIS)
    assert ports.port(IRIS) is None
    bound_socket(defaults.HOST, port).close()  # anybody may have it
    ports.close()


def test_the_held_port_refuses_connections_until_a_replica_listens() -> None:
    ports = Ports()
    port = ports.reserve(IRIS, None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((defaults.HOST, port))
    with pytest.raises(OSError, match="in use"):
        bound_socket(defaults.HOST, port)  # nobody gets it meanwhile
    with bound_socket(defaults.HOST, port, shared=True) as replica:
        replica.listen()
        for _ in range(20):  # all go to the replica, none to the socket that holds the port
            with socket.create_connection((defaults.HOST, port)) as client:
                accepted, peer = replica.accept()
                assert peer == client.getsockname()
                accepted.close()
    ports.close()


def test_a_restarted_control_plane_holds_the_same_port_beside_the_replicas() -> None:
    before = Ports()
    port = before.reserve(IRIS, None)
    replica = bound_socket(defaults.HOST, port, shared=True)
    replica.listen()
    before.close()
    status = {"status": {"annotations": {naming.URL_ANNOTATION: naming.url(port)}}}
    after = Ports()
    assert after.reserve(IRIS, naming.recorded(status, DIRECT)) == port
    after.close()
    replica.close()


def test_a_port_that_was_taken_meanwhile_is_replaced() -> None:
    with bound_socket(defaults.HOST, 0) as foreign:
        foreign.listen()
        taken = foreign.getsockname()[1]
        ports = Ports()
        assert ports.reserve(IRIS, taken) != taken
        ports.close()


def test_a_service_and_its_components_have_ports_of_their_own() -> None:
    ports = Ports()
    predictor = Port(IRIS.service, "predictor")
    assert ports.reserve(predictor, None) != ports.reserve(IRIS, None)
    ports.release_all(IRIS.service)
    assert ports.port(predictor) is None
    assert ports.port(IRIS) is None


def address(url: str) -> dict[str, object]:
    return {"components": {"predictor": {"address": {"url": url}}}}


@pytest.mark.parametrize(
    ("status", "use", "port"),
    [
        ({}, DIRECT, None),
        ({"annotations": {naming.URL_ANNOTATION: "x"}}, DIRECT, None),
        (address("http://127.0.0.1:8080/serving/ns/iris"), "predictor", None),
        (address("http://127.0.0.1:4711"), "predictor", 4711),
        (address("http://127.0.0.1:4711"), "explainer", None),
    ],
)
def test_what_the_status_remembers(status: dict[str, object], use: str, port: int | None) -> None:
    assert naming.recorded({"status": status}, use) == port
