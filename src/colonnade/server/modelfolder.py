"""Many models in one replica: what a folder offers, by name.

The folder has a list (`runtimes.modellist`). A model that is not on it but lies there under its name is offered too: so
do models come that KServe's own agent fetches. Who changes the folder then asks for `load` or `unload` over the
repository API; a replica that starts reads the list itself, so it needs nobody to tell it what it served before.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from colonnade.errors import Error, LoadFailed, ModelNotFound
from colonnade.runtimes import golden, images
from colonnade.runtimes.modellist import LISTING, Listed, read
from colonnade.server import loading
from colonnade.server.arguments import Arguments
from colonnade.server.compiling import Compiling, Mode
from colonnade.server.repository import Offered, Repository

_BEGINNING = 4  # models that load at one time while the replica starts

_log = logging.getLogger(__name__)


class ModelFolder:
    """The models of `arguments.model_dir`."""

    def __init__(self, arguments: Arguments, loop: asyncio.AbstractEventLoop) -> None:
        self._arguments = arguments
        self._loop = loop

    def offered(self, name: str) -> Offered:
        """How to load a model of the folder.

        Raises:
            ModelNotFound: the folder has no such model.
            LoadFailed: the list cannot be read, or names a framework that is unknown here.
        """
        folder = self._arguments.model_dir
        found = read(folder).get(name)
        if found is None:
            if "/" in name or name in (".", "..", LISTING) or not (folder / name).exists():
                raise ModelNotFound(name)
            found = Listed(name)
        path = Path(found.path) if found.path else folder / name
        framework = found.model_spec.framework
        adapters = images.IMAGES["colonnade"].adapters
        if framework and framework not in adapters:
            raise LoadFailed(f"framework {framework!r} is unknown here; use one of {', '.join(adapters)}")
        own = replace(
            self._arguments,
            model_name=name,
            model_dir=path,
            runtime=adapters.get(framework, images.AUTO),
            trust_code=self._arguments.trust_code if found.trust_code is None else found.trust_code,
        )
        compiling = Compiling(Mode.OFF, path, None, self._loop)  # nobody converts hundreds of models beside requests
        return Offered(loading.from_artefact(own, self._loop, compiling), golden.beside(path), found)

    async def load_all(self, repository: Repository) -> None:
        """Load what is listed. One that does not load is left out: the others are not to wait for it.

        Raises:
            LoadFailed: the list cannot be read.
        """
        slots = asyncio.Semaphore(_BEGINNING)

        async def load(name: str) -> None:
            async with slots:
                try:
                    await repository.load(name)
                except Error as error:
                    _log.error("a model cannot be loaded: %s", error.message, extra={"model": name})

        async with asyncio.TaskGroup() as group:
            for name in read(self._arguments.model_dir):
                group.create_task(load(name))
        repository.settle()
