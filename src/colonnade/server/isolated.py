"""A model in a process of its own, as the replica sees it: a `Model` whose `predict` asks the process and waits.

It runs on the thread of its instance, which holds no interpreter lock while it waits. So models whose code holds the
lock compute side by side, one process for each instance, and one that crashes takes no replica with it: its requests
get an error that says so, and the next finds a new process. Queues, batches, limits and metrics are the replica's, as
for any model. See `modelprocess` for the other end.
"""

from __future__ import annotations

import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from colonnade import defaults
from colonnade.errors import Error, InvalidInput, LoadFailed, ProcessLost, Unavailable
from colonnade.model.contract import Model
from colonnade.model.signatures import Form
from colonnade.server.crossing import Channel, Unsendable
from colonnade.server.modelprocess import VARIABLE, Description, Fault
from colonnade.wire.tensors import InferRequest

_log = logging.getLogger(__name__)

_EXIT = 5.0  # seconds that a process gets to end after it has said that it does

# By form: how the parameters of `predict` are annotated, so that it is bound as the model's own would be.
_ANNOTATIONS: dict[Form, Any] = {
    Form.ARRAY: np.ndarray,
    Form.ARRAYS: np.ndarray,
    Form.TABLE: "np.ndarray | pandas.DataFrame",
    Form.REQUEST: InferRequest,
}


class ProcessFailure(RuntimeError):
    """An error of the user's code in the process; the text has its type and where it was raised."""


class _RemoteTraceback(Exception):
    """Where an error was raised in the process; as a cause, it is in the log below the error."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class IsolatedModel(Model):
    """A model whose hooks run in a child process. Made by `load`, on the thread that will use it until `unload`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._loaded = False
        self._backoff = defaults.BACKOFF_FIRST
        self._not_before = 0.0

    def load(self) -> None:
        """Starts the process and waits until it has loaded the model.

        Raises:
            LoadFailed: it has not; with the cause.
        """
        self._start()
        described = self._await_loaded()
        self.version, self.platform = described.version, described.platform
        self.inputs, self.outputs = described.inputs, described.outputs
        self.lenient = described.lenient
        self.max_batch_size = described.max_batch_size
        self.preferred_batch_sizes = described.preferred_batch_sizes
        self.pad_batches = described.pad_batches
        annotation = _ANNOTATIONS.get(described.form)
        if annotation is None:
            predict = self._whole("call", described)
        else:
            predict = _signed(self._compute, dict.fromkeys(described.names, annotation))
        vars(self)["predict"] = predict
        if described.explains:
            vars(self)["explain"] = self._whole("explain", described)
        self.ready = True

    def example(self) -> InferRequest | None:
        """The model's own."""
        example: InferRequest | None = self._ask("example", [])
        return example

    def unload(self) -> None:
        """Has the process unload the model, and waits for its end."""
        if self._loaded and self._channel is not None:
            try:
                self._channel.send(["unload", []])
                _, fault = self._channel.receive()
                if fault is not None:
                    _log.error("unload failed in the model's process", exc_info=_raised(fault))
            except (EOFError, OSError):
                _log.warning("the model's process was gone before it was unloaded", extra={"model": self.name})
            self._end(_EXIT)
        else:
            self._end(0.0)

    def _compute(self, *arguments: Any) -> Any:
        return self._ask("predict", list(arguments))

    def _whole(self, operation: str, described: Description) -> Callable[..., Any]:
        """A hook that stands for all that the model does with a request, from its payload to the answer."""

        def call(
            payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
        ) -> Any:
            answer, filled = self._ask(operation, [payload, dict(headers or {}), {}])
            if response_headers is not None:
                response_headers.update(filled)
            return answer

        wanted = {"headers": described.headers, "response_headers": described.response_headers}
        return _signed(call, {"payload": None} | {name: None for name, wants in wanted.items() if wants})

    def _ask(self, operation: str, arguments: list[Any]) -> Any:
        channel = self._connected()
        try:
            channel.send([operation, arguments])
            kind, value = channel.receive()
        except Unsendable as error:
            raise InvalidInput(f"the request holds {error}, so it cannot reach the model's process") from None
        except (EOFError, OSError):
            how = self._end(_EXIT)
            _log.error("the model's process ended while it computed", extra={"model": self.name, "ended": how})
            self._start()
            raise ProcessLost(
                f"The process of model {self.name} ended ({how}) while it computed this request, or one that shared "
                "the call; it is started again"
            ) from None
        except BaseException:  # its answer may still come, and the next request must not get it
            how = self._end(0.0)
            _log.error("the model's process is out of step", extra={"model": self.name, "ended": how})
            raise
        if kind == "failed":
            raise _raised(value)
        return tuple(value) if kind == "tuple" else value

    def _connected(self) -> Channel:
        """The channel to a process that is ready; a process that is gone is replaced first.

        Raises:
            Unavailable: the model does not load any more.
        """
        process = self._process
        if process is not None and process.poll() is not None:  # while nothing was asked
            _log.error("the model's process ended", extra={"model": self.name, "ended": self._end(_EXIT)})
        if not self._loaded:
            wait = self._not_before - time.monotonic()
            if wait > 0:
                raise Unavailable(f"The process of model {self.name} cannot be started again yet.", retry_after=wait)
            if self._process is None:
                self._start()
            try:
                self._await_loaded()
            except Exception as error:
                self._not_before = time.monotonic() + self._backoff
                self._backoff = min(2 * self._backoff, defaults.BACKOFF_MAX)
                _log.error("the model cannot be loaded again", exc_info=error, extra={"model": self.name})
                cause = error.message if isinstance(error, Error) else "the replica's log has the reason"
                raise Unavailable(f"Model with name {self.name} cannot be loaded again: {cause}") from error
        assert self._channel is not None
        return self._channel

    def _start(self) -> None:
        """Starts the process. It loads the model by itself; `_await_loaded` takes what it says then."""
        ours, theirs = socket.socketpair()
        with theirs:
            variables = {**os.environ, VARIABLE: f"{theirs.fileno()}:{os.getpid()}"}
            command = [sys.executable, *sys.orig_argv[1:]]
            self._process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self._channel = Channel(ours)
        self._loaded = False

    def _await_loaded(self) -> Description:
        channel = self._channel
        assert channel is not None
        try:
            kind, value = channel.receive()
        except (EOFError, OSError):
            how = self._end(_EXIT)
            raise LoadFailed(
                f"the process of model {self.name} ended ({how}) before it had loaded the model; its output is in the "
                "replica's log"
            ) from None
        if kind == "failed":
            self._end(_EXIT)
            raise _raised(value)
        self._loaded = True
        self._backoff = defaults.BACKOFF_FIRST
        return msgspec.convert(value, Description)

    def _end(self, grace: float) -> str:
        """Waits for the end of the process, and brings it about after `grace` seconds; returns how it ended."""
        process, channel = self._process, self._channel
        self._process = self._channel = None
        self._loaded = False
        if channel is not None:
            channel.close()
        if process is None:
            return "not started"
        try:
            code = process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def isolated(name: str) -> Callable[[], Model]:
    """A loader of the model that this process's own command line makes, in a process of its own."""

    def load() -> Model:
        model = IsolatedModel(name)
        model.load()
        return model

    return load


def _signed(function: Callable[..., Any], annotations: dict[str, Any]) -> Callable[..., Any]:
    """A function that calls another, with parameters of these names and annotations."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    vars(call)["__signature__"] = inspect.Signature([inspect.Parameter(name, kind) for name in annotations])
    call.__annotations__ = {name: annotation for name, annotation in annotations.items() if annotation is not None}
    return call


def _raised(value: Any) -> Exception:
    """The error that a fault is, to raise it here."""
    fault = msgspec.convert(value, Fault)
    if not fault.status:
        failure = ProcessFailure(fault.message)
        failure.__cause__ = _RemoteTraceback(fault.trace)
        return failure
    error = Error(fault.message, retry_after=fault.retry_after)
    error.status, error.reason = fault.status, fault.reason
    return error
