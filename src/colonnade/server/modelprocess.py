"""The process of one instance of a model, for `--execution process`: it loads the model and answers the replica.

Its command line is the replica's own, so that whatever makes the model there makes it here: an artefact through its
runtime, or a user's script that calls `serve`. What tells the two apart is a variable that only the child has, with its
end of a socket. It does one thing at a time, as the thread of an instance does. It ends with the thread that started
it, whatever either is doing: an orphan would keep a model's memory for nobody. Signals for the group are the replica's
to act on; it tells its children when its last request has its answer.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from colonnade.errors import Error, InferenceError, LoadFailed
from colonnade.model.binding import BoundModel, bind
from colonnade.model.contract import Model
from colonnade.model.signatures import Form, Signature, read
from colonnade.server.crossing import Channel, Unsendable
from colonnade.server.hooks import HOOKS, observed, overridden
from colonnade.wire.tensors import InferRequest, TensorSpec

VARIABLE = "COLONNADE_MODEL_PROCESS"  # the child's end of the socket and the id of the replica: `3:1234`
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Loader = Callable[[asyncio.AbstractEventLoop], Callable[[], Model]]

_JOINABLE = (Form.ARRAY, Form.ARRAYS, Form.TABLE, Form.REQUEST)


class Description(msgspec.Struct):
    """What the replica must know of a loaded model to serve it as its own; see `contract.Model` for the attributes.

    Attributes:
        form: what its `predict` is given if that is all there is to a call; `PAYLOAD` if a whole call goes to the
            process as its protocol decoded it, because other hooks have a part in it.
        names: names of its array parameters.
        headers: it looks at the request's headers.
        response_headers: it fills headers of the answer.
        explains: it has an `explain`.
    """

    version: str
    platform: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    lenient: bool
    max_batch_size: int
    preferred_batch_sizes: list[int]
    pad_batches: bool
    form: Form
    names: list[str]
    headers: bool
    response_headers: bool
    explains: bool


class Fault(msgspec.Struct):
    """An error on its way to the replica.

    Attributes:
        message: for the caller if it is of the product's family, else for the log.
        status: of an error of the product's family; 0: it is another.
        trace: where it was raised.
    """

    message: str
    status: int
    reason: str
    retry_after: float | None
    trace: str


def is_asked_for() -> bool:
    """Whether this process is to be one of a model."""
    return VARIABLE in os.environ


def run(loader: Loader) -> None:
    """Loads the model, says so, and answers until it is told to unload it or the replica is gone.

    Args:
        loader: gives, on the event loop on which a coroutine `load` runs, what loads the model.
    """
    descriptor, replica = map(int, os.environ.pop(VARIABLE).split(":"))
    _end_with(replica)
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="loop", daemon=True).start()
    try:
        model = asyncio.run_coroutine_threadsafe(_made(loader, loop), loop).result()()
        served = _Served(model)
        answer: Any = ["loaded", msgspec.to_builtins(served.description)]
    except Exception as error:
        channel.send(["failed", msgspec.to_builtins(_fault(error))])
        return
    try:
        channel.send(answer)
        while answer[0] != "unloaded":
            operation, arguments = channel.receive()
            answer = _outcome(served, loop, operation, arguments)
            try:
                channel.send(answer)
            except Unsendable as error:
                text = f"predict returned {error}, which cannot leave the model's process; return arrays or JSON values"
                channel.send(["failed", msgspec.to_builtins(_fault(InferenceError(text)))])
            del arguments  # keep no request alive while nothing is asked
    except (EOFError, OSError):
        return  # the replica is gone


async def _made(loader: Loader, loop: asyncio.AbstractEventLoop) -> Callable[[], Model]:
    return loader(loop)


class _Served:
    """The loaded model and its operations, which are named as the replica asks for them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        view = observed(model, deque(maxlen=0), lambda hook: _ignore)
        signatures = {hook: read(getattr(view, hook), hook) for hook in HOOKS if overridden(model, hook)}
        for hook, signature in signatures.items():
            if signature.is_async or signature.streams:
                raise LoadFailed(
                    f"{type(model).__name__}.{hook} is async, which --execution process does not run: a process does "
                    "one thing at a time; leave the flag out, or write it with plain `def`"
                )
        self._bound: BoundModel = bind(view)
        self._predict = view.predict
        self.description = _described(model, signatures, self._bound)

    def run(self, operation: str, arguments: list[Any]) -> Any:
        """Answers one question of the replica."""
        if operation == "predict":
            return self._predict(*arguments)
        if operation == "example":
            return self.model.example()
        payload, headers, filled = arguments
        if operation == "explain":
            made = self._bound.explain_v1
        else:
            made = self._bound.infer if isinstance(payload, InferRequest) else self._bound.predict_v1
        answer = made(payload, headers, filled)
        return [answer, filled]


def _outcome(served: _Served, loop: asyncio.AbstractEventLoop, operation: str, arguments: list[Any]) -> list[Any]:
    try:
        if operation == "unload":
            freed = served.model.unload()
            if isinstance(freed, Coroutine):
                asyncio.run_coroutine_threadsafe(freed, loop).result()
            return ["unloaded", None]
        result = served.run(operation, arguments)
        return ["tuple", list(result)] if type(result) is tuple else ["result", result]
    except BaseException as error:
        kind = "unloaded" if operation == "unload" else "failed"
        return [kind, msgspec.to_builtins(_fault(error))]


def _described(model: Model, signatures: dict[str, Signature], bound: BoundModel) -> Description:
    predict = signatures.get("predict")
    if predict is None:
        raise LoadFailed(f"{type(model).__name__} defines no predict(); write one")
    hooks = [signature for name, signature in signatures.items() if name != "explain"]
    wants = predict.headers or predict.response_headers
    plain = len(hooks) == 1 and not wants and predict.form in _JOINABLE
    return Description(
        version=model.version,
        platform=model.platform,
        inputs=list(model.inputs),
        outputs=list(model.outputs),
        lenient=model.lenient,
        max_batch_size=model.max_batch_size,
        preferred_batch_sizes=list(model.preferred_batch_sizes),
        pad_batches=model.pad_batches,
        form=predict.form if plain else Form.PAYLOAD,
        names=list(predict.names),
        headers=any(signature.headers for signature in signatures.values()),
        response_headers=any(signature.response_headers for signature in signatures.values()),
        explains="explain" in signatures,
    )


def _fault(error: BaseException) -> Fault:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, Error):
        return Fault(error.message, error.status, error.reason, error.retry_after, trace)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return Fault(f"{type(error).__name__}: {error}{place}", 0, "", None, trace)


def _ignore(seconds: float) -> None:
    """Takes the time of a hook, which the replica measures itself."""


def _end_with(replica: int) -> None:
    """Has the kernel end this process with the thread that started it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != replica:  # it was gone before the kernel knew
        os._exit(1)
