"""The two ways to start a replica: on an artefact from the command line, and on a class from a user's script."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from colonnade import observe
from colonnade.model.contract import Model
from colonnade.server import arguments as command_line
from colonnade.server import loading, modelprocess, process
from colonnade.server.arguments import Arguments
from colonnade.server.compiling import Compiling, own_folder
from colonnade.server.compiling import Mode as Compile
from colonnade.server.execution import Mode
from colonnade.server.repository import Loader


def main(argv: Sequence[str] | None = None) -> None:
    """Serves the artefact that the command line names; ends the process with its exit code."""
    arguments = command_line.parse(sys.argv[1:] if argv is None else argv)

    def start(loop: asyncio.AbstractEventLoop) -> tuple[Loader, Compiling]:
        mode = arguments.compile
        if mode is Compile.AUTO and arguments.policy.mode is Mode.PROCESS:
            mode = Compile.OFF  # nobody converts beside a model in a process of its own
        if arguments.explainer is not None:
            mode = Compile.OFF  # what is explained is the model as it was fitted
        folder = arguments.compile_cache or own_folder(os.environ)
        compiling = Compiling(mode, folder, arguments.compile_report, loop)
        return loading.from_artefact(arguments, loop, compiling), compiling

    _run(arguments, start)


def serve(model: Model | type[Model], argv: Sequence[str] | None = None) -> None:
    """Serves a model from a user's script, with the flags of `python -m colonnade.server`.

    ```python
    if __name__ == "__main__":
        colonnade.serve(Iris)
    ```

    Blocks until SIGTERM or SIGINT and ends the process with exit code 0, or 3 if the model cannot be loaded.

    Args:
        model: a class, made anew for each load; or an instance, copied for each load. An instance whose `ready` is True
            counts as loaded.
        argv: words of the command line instead of the process's own; words that are not ours are left to the script.
    """
    script = Path(sys.argv[0]).resolve()
    arguments = command_line.parse(sys.argv[1:] if argv is None else argv, script=script)
    _run(arguments, lambda loop: (loading.from_code(model, arguments, loop), None))


def _run(arguments: Arguments, start: Callable[[asyncio.AbstractEventLoop], tuple[Loader, Compiling | None]]) -> None:
    async def run() -> process.Outcome:
        if arguments.multi_model:
            from colonnade.server.modelfolder import ModelFolder

            return await process.run(arguments, ModelFolder(arguments, asyncio.get_running_loop()))
        if arguments.policy.mode is Mode.PROCESS:
            from colonnade.server.isolated import isolated

            return await process.run(arguments, isolated(arguments.model_name))
        loader, compiling = start(asyncio.get_running_loop())
        return await process.run(arguments, loader, compiling)

    observe.configure(sys.stderr)
    if modelprocess.is_asked_for():  # the same command line, started by `isolated`
        modelprocess.run(lambda loop: start(loop)[0])
        return
    outcome = uvloop.run(run())
    if not outcome.clean:  # a thread is still in the model's code; nothing can stop it but the end of the process
        logging.shutdown()
        sys.stdout.flush()
        os._exit(outcome.code)
    sys.exit(outcome.code)
