"""Which replicas are forked by processes that have made their imports, and what those processes are. Pure.

Such a process takes memory all the time, so by default there is one only for what is started again and again while a
request waits: components that may have no replica.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from colonnade.control.workload import variables
from colonnade.errors import InvalidInput
from colonnade.platforms.base import Seed
from colonnade.runtimes.preload import MODULES

AUTO, OFF = "auto", "off"

_MODULE = ("-m", "colonnade.server")
_SEED_MODULE = "colonnade.server.seed"

_OWN = variables.ALL | {"INFERENCE_SERVICE_NAME", "K_SERVICE", "K_CONFIGURATION", "K_REVISION", "MODEL_DIR"}
"""Variables of a replica that say where it is and what it serves. No library looks at them; all others may matter while
modules are imported, so replicas share a seed only if they share those."""


class Pooling(NamedTuple):
    """What `colonnade up --pool` says.

    Attributes:
        adapters: whose replicas are all forked, by seeds that are there from the start.
        sleepers: so are those of components that may have no replica, once one of them was ready.
    """

    adapters: frozenset[str] = frozenset()
    sleepers: bool = True

    @property
    def off(self) -> bool:
        """Whether no replica is forked."""
        return not self.sleepers and not self.adapters

    def seeds(self) -> list[Seed]:
        """What to start before there is a replica."""
        return [Seed((sys.executable, "-m", _SEED_MODULE, adapter)) for adapter in sorted(self.adapters)]

    def seed_of(self, argv: Sequence[str], env: Mapping[str, str], *, sleeps: bool) -> Seed | None:
        """What can fork a replica, if it is to be forked: one of the built-in server, by an adapter that can be.

        Args:
            argv: the replica's command line.
            env: its variables.
            sleeps: its component may have no replica.
        """
        adapter = _adapter(argv)
        if adapter not in self.adapters and not (self.sleepers and sleeps and adapter in MODULES):
            return None
        own = {name: value for name, value in env.items() if name not in _OWN}
        return Seed((argv[0], "-m", _SEED_MODULE, adapter), own)


def pooling(text: str) -> Pooling:
    """The value of `--pool`: `auto`, `off`, or adapters with commas.

    Raises:
        InvalidInput: an adapter is unknown, or cannot be forked; names those that can.
    """
    if text in (AUTO, OFF):
        return Pooling(sleepers=text == AUTO)
    adapters = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(adapters - MODULES.keys())
    if unknown or not adapters:
        raise InvalidInput(
            f"--pool: {', '.join(unknown) or 'nothing'} cannot be imported before there is a model; use {AUTO}, {OFF}, "
            f"or some of {', '.join(sorted(MODULES))}"
        )
    return Pooling(adapters)


def _adapter(argv: Sequence[str]) -> str:
    """The adapter that a command line of the built-in server names; "" for other programs."""
    if tuple(argv[1:3]) != _MODULE:
        return ""
    named = [value for flag, value in pairwise(argv) if flag == "--runtime"]
    return named[-1] if named else ""
