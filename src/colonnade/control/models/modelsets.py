"""The lists of models that multi-model services serve, on disk: what their replicas read when they start.

The list is the truth between the control plane and the replicas. A replica that starts while no control plane runs
serves what is listed, and a control plane that starts finds here what an earlier one had placed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonnade.control.workqueue import Key
from colonnade.errors import LoadFailed
from colonnade.runtimes.modellist import LISTING, Listed, read
from colonnade.security import files

log = logging.getLogger(__name__)


class ModelSets:
    """The lists, by service."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lists: dict[Key, dict[str, Listed]] = {}
        for file in root.glob(f"*/*/{LISTING}"):
            service = Key(file.parent.parent.name, file.parent.name)
            try:
                self._lists[service] = read(file.parent)
            except LoadFailed as error:  # what belongs there is placed again
                log.warning("a list of models is written anew", extra={"service": str(service), "error": error.message})

    def of(self, service: Key) -> dict[str, Listed]:
        """The models of a service, by name. Not to be changed."""
        return self._lists.get(service, {})

    def holding(self, model: Key) -> list[Key]:
        """The services that list a model."""
        return [
            each for each, listed in self._lists.items() if each.namespace == model.namespace and model.name in listed
        ]

    def models(self) -> Iterator[Key]:
        """All models that are listed."""
        for service, listed in self._lists.items():
            yield from (Key(service.namespace, name) for name in listed)

    def paths(self) -> list[str]:
        """Where the listed models lie."""
        return [each.path for listed in self._lists.values() for each in listed.values()]

    def put(self, service: Key, model: Listed) -> bool:
        """List a model, in place of one of its name. Returns whether that changed anything."""
        listed = self.of(service)
        if listed.get(model.model_name) == model:
            return False
        self._write(service, {**listed, model.model_name: model})
        return True

    def remove(self, service: Key, name: str) -> None:
        """List a model no more. The folder of the last one goes."""
        self._write(service, {each: model for each, model in self.of(service).items() if each != name})

    def _write(self, service: Key, listed: dict[str, Listed]) -> None:
        folder = self._root / service.namespace / service.name
        if not listed:
            self._lists.pop(service, None)
            shutil.rmtree(folder, ignore_errors=True)
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(folder / LISTING, msgspec.json.encode(list(listed.values())), files.PRIVATE)
        self._lists[service] = listed
