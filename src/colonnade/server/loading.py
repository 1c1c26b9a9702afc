"""What makes the hosted model: an artefact through its runtime, or a class or instance from a user's script.

A loader runs on the model's own worker thread, so that a framework sees one thread from load to the last predict.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from colonnade.errors import LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import catalogue
from colonnade.runtimes.base import LoadOptions
from colonnade.server.arguments import Arguments
from colonnade.server.compiling import Compiling
from colonnade.server.hooks import overridden
from colonnade.server.repository import Loader

if TYPE_CHECKING:
    from colonnade.server.predictor import PredictorClient

_USER_CODE = "python"  # the runtime whose models users write


def from_artefact(arguments: Arguments, loop: asyncio.AbstractEventLoop, compiling: Compiling) -> Loader:
    """A loader of the artefact that the arguments name.

    The loader raises LoadFailed, or InvalidInput for an artefact of no known kind, or what the user's `load` raised.

    Args:
        arguments: the replica's.
        loop: runs a `load` that is a coroutine function, so that what it opens belongs to the loop that serves.
        compiling: loads it, or what it was compiled to.
    """
    predictor = _predictor(arguments, loop)

    def load() -> Model:
        path = arguments.model_dir
        name = catalogue.detect(path) if arguments.runtime == "auto" else arguments.runtime
        if predictor is not None and name != _USER_CODE:
            raise LoadFailed(f"models of {name} call no predictor; leave --predictor-host out, or write a Python class")
        env = dict(os.environ)
        if arguments.threads is not None:
            env["OMP_NUM_THREADS"] = str(arguments.threads)
        trusted = arguments.trust_code
        if trusted is None:  # whoever put code into a local folder wants it run; a pickle may hide some
            trusted = name == _USER_CODE
        options = LoadOptions(trusted, env, arguments.settings)
        model = compiling.load(name, arguments.model_name, path, options)
        loaded = _complete(model, loop, predictor, trusted=name != _USER_CODE)
        if arguments.explainer is not None:
            from colonnade.runtimes.explainers import shap

            vars(loaded)["explain"] = shap.explain_hook(loaded, path)
        return loaded

    return load


def from_code(model: Model | type[Model], arguments: Arguments, loop: asyncio.AbstractEventLoop) -> Loader:
    """A loader of a user's class, made anew for each load, or of an instance, copied for each load.

    The loader raises what the user's code raises, or LoadFailed.
    """

    predictor = _predictor(arguments, loop)

    def load() -> Model:
        made = _make(model, arguments.model_name) if isinstance(model, type) else copy.copy(model)
        made.name = arguments.model_name
        directory = arguments.model_dir
        made.directory = directory.parent if directory.is_file() else directory
        return _complete(made, loop, predictor, trusted=False)

    return load


def _make(kind: type[Model], name: str) -> Model:
    return kind(name) if inspect.signature(kind).parameters else kind()


def _predictor(arguments: Arguments, loop: asyncio.AbstractEventLoop) -> PredictorClient | None:
    """What calls the predictor, for all that this process loads; None if it was told of none."""
    if arguments.predictor is None:
        return None
    from colonnade.server.predictor import PredictorClient  # brings protobuf and HTTP/2

    return PredictorClient(
        arguments.predictor,
        arguments.model_name,
        loop,
        protocol=arguments.predictor_protocol,
        timeout=arguments.predictor_timeout,
        tls=arguments.predictor_tls,
    )


def _complete(
    model: Model, loop: asyncio.AbstractEventLoop, predictor: PredictorClient | None, *, trusted: bool
) -> Model:
    """Runs the model's `load`, and gives one that only stands before a predictor a `predict` that passes payloads on.

    `trusted`: the model may run on the event loop if it promises to be quick (`Model.inline`). Only our own adapters
    are: a user's model that waited there against its promise would stall every connection, and no clock of its thread
    would show it.
    """
    if predictor is not None:
        model.predictor = predictor
    if not model.ready:
        result = model.load()
        if isinstance(result, Coroutine):
            result = asyncio.run_coroutine_threadsafe(result, loop).result()
        if result is False:
            raise LoadFailed(f"{type(model).__name__}.load returned False, which says that the model is not ready")
    if predictor is not None and not overridden(model, "predict"):
        vars(model)["predict"] = _passing_on(predictor)
    model.inline = model.inline and trusted
    model.ready = True
    return model


def _passing_on(predictor: PredictorClient) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The `predict` of a transformer."""

    async def predict(payload: Any, headers: Mapping[str, str]) -> Any:
        return await predictor.predict(payload, headers)

    return predict
