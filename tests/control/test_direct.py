"""Ports of services that are reached without the gateway."""

from __future__ import annotations

import socket

import pytest

from colonnade import defaults
from colonnade.control import direct
from colonnade.control.direct import DirectPorts
from colonnade.control.workqueue import Key
from colonnade.net.address import bound_socket

IRIS, OTHER = Key("default", "iris"), Key("default", "other")


def test_a_port_is_kept_until_it_is_released() -> None:
    ports = DirectPorts()
    port = ports.reserve(IRIS, None)
    assert ports.reserve(IRIS, None) == port == ports.port(IRIS)
    assert ports.reserve(OTHER, None) != port
    ports.release(IRIS)
    assert ports.port(IRIS) is None
    bound_socket(defaults.HOST, port).close()  # anybody may have it
    ports.close()


def test_the_held_port_refuses_connections_until_a_replica_listens() -> None:
    ports = DirectPorts()
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
    before = DirectPorts()
    port = before.reserve(IRIS, None)
    replica = bound_socket(defaults.HOST, port, shared=True)
    replica.listen()
    before.close()
    status = {"status": {"annotations": direct.record(port)}}
    after = DirectPorts()
    assert after.reserve(IRIS, direct.recorded(status)) == port
    after.close()
    replica.close()


def test_a_port_that_was_taken_meanwhile_is_replaced() -> None:
    with bound_socket(defaults.HOST, 0) as foreign:
        foreign.listen()
        taken = foreign.getsockname()[1]
        ports = DirectPorts()
        assert ports.reserve(IRIS, taken) != taken
        ports.close()


@pytest.mark.parametrize("status", [{}, {"status": {}}, {"status": {"annotations": {direct.URL_ANNOTATION: "x"}}}])
def test_a_status_without_a_port(status: dict[str, object]) -> None:
    assert direct.recorded(status) is None
