"""How a transformer or an explainer finds its predictor: the words that KServe's controller adds to its `args`. Pure.

Sources: KServe's `transformer_custom.go` and `explainer_custom.go`. Two things are ours. A flag that the manifest has
is not given again, so that what the user says is what the program reads. And the gRPC port is said as well: in a
cluster each program has the usual one, 8081, to itself, and here all share the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colonnade.control.runtimes import listening
from colonnade.control.runtimes.listening import Listening
from colonnade.control.workload import variables
from colonnade.control.workload.variables import reference

TRANSPORT = "ports"


def chained(container: Mapping[str, Any], service: str, component: Mapping[str, Any]) -> Listening:
    """The container of a transformer or an explainer, which is told what it is called and whom it calls.

    Args:
        container: the manifest's, with its command.
        service: name of the service, which is its model's name unless `args` have another.
        component: what holds the container.
    """
    own = [str(word) for word in container.get("args") or ()]
    given = {
        "--model_name": service,
        "--http_port": reference(variables.PORT),
        "--grpc_port": reference(variables.GRPC_PORT),
        "--predictor_host": reference(variables.PREDICTOR),
    }
    if component.get("containerConcurrency"):
        given["--workers"] = str(component["containerConcurrency"])
    said = _names([*map(str, container.get("command") or ()), *own])
    added = [word for flag, value in given.items() if flag not in said for word in (flag, value)]
    placed = listening.placed({**container, "args": [*own, *added]})
    return Listening(placed.container, TRANSPORT)


def _names(words: Sequence[str]) -> set[str]:
    """The flags among words of a command line, in KServe's spelling."""
    return {word.partition("=")[0].replace("-", "_").replace("__", "--", 1) for word in words if word.startswith("--")}
