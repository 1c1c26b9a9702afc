"""Where a program shall listen: the ports that its words name become those that its replica gets. Pure.

A container has its ports to itself, so every runtime of KServe says 8080 for HTTP and 9000 (or 8081) for gRPC. Here
all replicas share the machine, so each gets free ports, and the words and variables that say otherwise are rewritten:
`--http_port=8080` to `--http_port=$(PORT)`. Only what is named like a port and has such a number is touched, and what
is named as the port of metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from colonnade.control.replicas import variables
from colonnade.control.replicas.variables import reference

HTTP_PORT = "8080"
GRPC_PORTS = frozenset({"9000", "8081"})
_GRPC_NAMES = ("h2c", "grpc", "http2")  # what Knative calls a port that speaks gRPC
_NAMED_PORT = re.compile(r"port$", re.IGNORECASE)
_NAMED_METRICS = re.compile(r"metrics?\w*[_-]port$", re.IGNORECASE)


class Listening(NamedTuple):
    """A program's container, and the transport of its replicas (`template.TRANSPORT_ANNOTATION`)."""

    container: dict[str, Any]
    transport: str


def placed(container: Mapping[str, Any]) -> Listening:
    """A container of a runtime with its ports rewritten."""
    known = _numbers(container.get("ports") or ())
    words = {key: _words(container[key], known) for key in ("command", "args") if container.get(key)}
    env = [_variable(entry, known) for entry in container.get("env") or ()]
    made = {**container, **words, **({"env": env} if env else {})}
    text = " ".join([*words.get("command", ()), *words.get("args", ()), *(str(each.get("value")) for each in env)])
    if reference(variables.GRPC_PORT) not in text:
        return Listening(made, transport(container))
    return Listening(made, "ports" if reference(variables.PORT) in text else "h2c")


def transport(container: Mapping[str, Any]) -> str:
    """That of a server that listens on `$PORT` alone."""
    ports = container.get("ports") or ()
    return "h2c" if ports and ports[0].get("name") in _GRPC_NAMES else "port"


def _numbers(ports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each port number becomes: the usual ones, and those that the container declares."""
    known = {HTTP_PORT: reference(variables.PORT)} | dict.fromkeys(GRPC_PORTS, reference(variables.GRPC_PORT))
    for port in ports:
        grpc = port.get("name") in _GRPC_NAMES
        known[str(port.get("containerPort"))] = reference(variables.GRPC_PORT if grpc else variables.PORT)
    return known


def _words(words: Sequence[str], known: Mapping[str, str]) -> list[str]:
    made: list[str] = []
    for word in map(str, words):
        flag, equals, value = word.partition("=")
        if equals:
            made.append(f"{flag}={_port(flag, value, known)}")
        elif made and made[-1].startswith("-"):
            made.append(_port(made[-1], word, known))
        else:
            made.append(word)
    return made


def _variable(entry: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    return (
        {**entry, "value": _port(str(entry["name"]), str(entry["value"]), known)} if "value" in entry else dict(entry)
    )


def _port(name: str, value: str, known: Mapping[str, str]) -> str:
    """The value of a flag or a variable, or what stands for the port that it is."""
    if _NAMED_METRICS.search(name) and value.isdecimal():
        return reference(variables.METRICS_PORT)
    return known.get(value, value) if _NAMED_PORT.search(name) else value
