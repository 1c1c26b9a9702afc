"""A transformer that shares a pod with its predictor: `transformer-container`. Pure.

In a cluster both share the network of their pod, so the manifest gives the predictor a port beside 8080 and the
transformer the address `localhost:8085`. Here they share the machine with all others: each gets free ports of its own,
and where the transformer's words mean the predictor's they name that. Nothing is added to them, as KServe adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from colonnade.control.runtimes import listening
from colonnade.control.runtimes.listening import Listening
from colonnade.control.workload import variables
from colonnade.control.workload.variables import reference
from colonnade.resources import served

_HERE = re.compile(r"\b(?:localhost|127\.0\.0\.1)(?::(\d+))?(?![\w.-])")
_GRPC = "grpc-v2"


def transformer_of(component: Mapping[str, Any]) -> dict[str, Any] | None:
    """The container of a predictor's pod that transforms, if there is one beside what predicts."""
    given = component.get("containers") or []
    if component.get("model") is None and len(given) < 2:
        return None
    return next((each for each in given if each.get("name") == served.TRANSFORMER_CONTAINER), None)


def predictor(container: Mapping[str, Any]) -> Listening:
    """A program that predicts, on ports of its own."""
    return listening.placed(container, listening.named(container))


def transformer(container: Mapping[str, Any], said: Mapping[str, Any]) -> Listening:
    """The transformer, told where the predictor is.

    Args:
        container: the manifest's.
        said: the predictor as the manifest has it: a container or a model.
    """
    ports = {**listening.numbers(said.get("ports") or ()), **listening.named(said)}
    spoken: list[str] = []

    def hear(name: str, value: str) -> str:
        if _flag(name) in ("predictor_protocol", "protocol"):
            spoken.append(value)
        return value

    listening.rewritten(container, hear)
    usual = reference(variables.PREDICTOR_GRPC if _GRPC in spoken else variables.PREDICTOR)

    def address(name: str, value: str) -> str:
        def place(found: re.Match[str]) -> str:
            if _flag(name) == "predictor_host":
                return usual
            known = ports.get(found.group(1) or "")
            if known is None:
                return found.group(0)
            grpc = known == reference(variables.GRPC_PORT)
            return reference(variables.PREDICTOR_GRPC if grpc else variables.PREDICTOR)

        return _HERE.sub(place, value)

    return listening.placed(listening.rewritten(container, address))


def _flag(name: str) -> str:
    """A flag's or a variable's name, in one spelling."""
    return name.lstrip("-").replace("-", "_").lower()
