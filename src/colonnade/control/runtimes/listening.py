"""Where a program shall listen: the ports that its words name become those that its replica gets. Pure.

A container has its ports to itself, so every runtime of KServe says 8080 for HTTP and 9000 (or 8081) for gRPC. Here
all replicas share the machine, so each gets free ports, and the words and variables that say otherwise are rewritten:
`--http_port=8080` to `--http_port=$(PORT)`. Only what is named like a port and has such a number is touched, and what
is named as the port of metrics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from colonnade.control.workload import variables
from colonnade.control.workload.variables import reference

HTTP_PORT = "8080"
GRPC_PORTS = frozenset({"9000", "8081"})
_GRPC_NAMES = ("h2c", "grpc", "http2")  # what Knative calls a port that speaks gRPC
_NONE: Mapping[str, str] = {}
_NAMED_PORT = re.compile(r"port$", re.IGNORECASE)
_NAMED_METRICS = re.compile(r"metrics?\w*[_-]port$", re.IGNORECASE)


class Listening(NamedTuple):
    """A program's container, and the transport of its replicas (`template.TRANSPORT_ANNOTATION`)."""

    container: dict[str, Any]
    transport: str


def placed(container: Mapping[str, Any], own: Mapping[str, str] = _NONE) -> Listening:
    """A container of a runtime with its ports rewritten. `own` says what further numbers become: see `named`."""
    known = {**_usual(), **numbers(container.get("ports") or ()), **own}
    made = rewritten(container, lambda name, value: _port(name, value, known))
    words = {key: made[key] for key in ("command", "args") if made.get(key)}
    env = made.get("env") or ()
    text = " ".join([*words.get("command", ()), *words.get("args", ()), *(str(each.get("value")) for each in env)])
    if reference(variables.GRPC_PORT) not in text:
        return Listening(made, transport(container))
    return Listening(made, "ports" if reference(variables.PORT) in text else "h2c")


def named(container: Mapping[str, Any]) -> dict[str, str]:
    """What the port numbers become that a program's flags name: `--http_port=8085`, `--grpc_port 8086`."""
    found: dict[str, str] = {}

    def note(name: str, value: str) -> str:
        if _NAMED_PORT.search(name) and value.isdecimal() and not _NAMED_METRICS.search(name):
            grpc = any(word in name.lower() for word in _GRPC_NAMES)
            found[value] = reference(variables.GRPC_PORT if grpc else variables.PORT)
        return value

    rewritten(container, note)
    return found


def rewritten(container: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """A container with the values of its flags and variables as `change(name, value)` has them.

    A word that is no flag's value has no name: it is changed as the value of "".
    """
    words = {key: _words(container[key], change) for key in ("command", "args") if container.get(key)}
    env = [_variable(entry, change) for entry in container.get("env") or ()]
    return {**container, **words, **({"env": env} if env else {})}


def transport(container: Mapping[str, Any]) -> str:
    """That of a server that listens on `$PORT` alone."""
    ports = container.get("ports") or ()
    return "h2c" if ports and ports[0].get("name") in _GRPC_NAMES else "port"


def _usual() -> dict[str, str]:
    """What the ports become that every runtime has."""
    return {HTTP_PORT: reference(variables.PORT)} | dict.fromkeys(GRPC_PORTS, reference(variables.GRPC_PORT))


def numbers(ports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each port becomes that a container declares."""
    known: dict[str, str] = {}
    for port in ports:
        grpc = port.get("name") in _GRPC_NAMES
        known[str(port.get("containerPort"))] = reference(variables.GRPC_PORT if grpc else variables.PORT)
    return known


def _words(words: Sequence[str], change: Callable[[str, str], str]) -> list[str]:
    made: list[str] = []
    for word in map(str, words):
        flag, equals, value = word.partition("=")
        if equals:
            made.append(f"{flag}={change(flag, value)}")
        elif made and made[-1].startswith("-"):
            made.append(change(made[-1], word))
        else:
            made.append(change("", word))
    return made


def _variable(entry: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    return {**entry, "value": change(str(entry["name"]), str(entry["value"]))} if "value" in entry else dict(entry)


def _port(name: str, value: str, known: Mapping[str, str]) -> str:
    """The value of a flag or a variable, or what stands for the port that it is."""
    if _NAMED_METRICS.search(name) and value.isdecimal():
        return reference(variables.METRICS_PORT)
    return known.get(value, value) if _NAMED_PORT.search(name) else value
