"""Golden requests to programs that are not ours: before a replica of one is ready, it answers as `golden.json` says.

Our model server holds itself against the file while it loads. Any other program is asked from here, over the address
that the gateway will use, once its own probe says that it is ready; until all cases are answered as they should be, the
replica counts as not ready, so no request of a client ever reaches a wrong one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from colonnade.control.templates import template
from colonnade.control.workload import podstatus
from colonnade.control.workqueue import Key
from colonnade.errors import Error
from colonnade.net import Address
from colonnade.platforms.base import ReplicaState, Termination
from colonnade.runtimes import golden
from colonnade.runtimes.golden import Case
from colonnade.security import files
from colonnade.server import golden_answers
from colonnade.server.predictor import PredictorClient
from colonnade.server.predictor_protocol import PredictorProtocol
from colonnade.wire import v2

log = logging.getLogger(__name__)

GOLDEN_ANNOTATION = "colonnade.dev/golden"  # on pods of other programs: where the model's golden requests would lie
FAILED = "ModelLoadFailed"  # the reason with which our own server ends then
ASKED = "its golden requests are being answered"


def noted(pod: dict[str, Any], model: Path | None) -> dict[str, Any]:
    """A pod that says where the golden requests of its model are, if it runs a program that does not read them."""
    if model is None or _transport(pod) == "socket":
        return pod
    metadata = pod["metadata"]
    annotations = {**metadata["annotations"], GOLDEN_ANNOTATION: str(golden.beside(model).absolute())}
    return {**pod, "metadata": {**metadata, "annotations": annotations}}


class _Trial:
    """What becomes of one process."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self.task: asyncio.Task[None] | None = None
        self.failure = ""

    @property
    def under_way(self) -> bool:
        return self.task is not None and not self.task.done()


class Trials:
    """The trials of all replicas. Belongs to one event loop."""

    def __init__(self, look: Callable[[Key], None], timeout: float) -> None:
        """`look` asks for a look at a pod whose trial is over; one request may take `timeout` seconds."""
        self._look = look
        self._timeout = timeout
        self._trials: dict[str, _Trial] = {}

    def believed(self, key: Key, pod: Mapping[str, Any], state: ReplicaState, number: int) -> ReplicaState:
        """The state of a pod's process: it is ready when it has passed. Begins its trial if that is due."""
        path = (pod["metadata"].get("annotations") or {}).get(GOLDEN_ANNOTATION)
        if not path or not state.ready or number != len(pod["spec"]["containers"]) - 1:
            return state
        trial = self._trials.get(state.spec.key)
        if trial is None or trial.pid != state.pid:
            self.forget(state.spec.key)
            trial = self._trials[state.spec.key] = _Trial(state.pid)
            if not podstatus.was_ready(pod, state.pid, number):  # else an earlier control plane has asked it
                trial.task = asyncio.create_task(self._ask(key, pod, state, trial, Path(path)))
        if trial.under_way or trial.failure:
            return dataclasses.replace(state, ready=False, ready_since=None, reason=trial.failure or ASKED)
        return state

    def failure(self, state: ReplicaState) -> str:
        """Why a process has not passed; "" if it has, or is asked yet."""
        trial = self._trials.get(state.spec.key)
        return trial.failure if trial is not None and trial.pid == state.pid else ""

    def forget(self, name: str) -> None:
        """A process is gone."""
        trial = self._trials.pop(name, None)
        if trial is not None and trial.task is not None:
            trial.task.cancel()

    async def _ask(self, key: Key, pod: Mapping[str, Any], state: ReplicaState, trial: _Trial, path: Path) -> None:
        try:
            cases = await asyncio.to_thread(golden.read, path)
            if cases:
                await self._check(cases, pod, state)
        except Error as error:
            trial.failure = error.message
        except Exception as error:  # a fault of ours is no reason to let it pass
            log.exception("golden requests could not be asked", extra={"replica": state.spec.key})
            trial.failure = f"its golden requests could not be asked: {error}"
        self._look(key)

    async def _check(self, cases: list[Case], pod: Mapping[str, Any], state: ReplicaState) -> None:
        name = (pod["metadata"].get("annotations") or {}).get(template.MODEL_ANNOTATION, "")
        over = PredictorProtocol.GRPC if _transport(pod) == "h2c" else PredictorProtocol.V2
        address, loop = Address.parse(state.spec.http), asyncio.get_running_loop()
        clients = {
            v2: PredictorClient(address, name, loop, protocol=protocol, timeout=self._timeout)
            for v2, protocol in ((False, PredictorProtocol.V1), (True, over))
        }

        async def ask(case: Case) -> Any:
            if not case.v2:
                return await clients[False].predict(msgspec.json.decode(case.request))
            answer = await clients[True].predict(v2.decode(case.request, None, name, None))
            return answer.outputs

        try:
            await golden_answers.check(cases, ask, name)
        finally:
            for client in clients.values():
                client.close()


def tell(state: ReplicaState, why: str) -> None:
    """Write down for a process why it is ended, as our own server does for itself."""
    if state.spec.termination is not None:
        said = Termination(FAILED, why, state.spec.key)
        files.write(Path(state.spec.termination), msgspec.json.encode(said))


def _transport(pod: Mapping[str, Any]) -> str:
    """Of the process that has the model: the last one."""
    annotations = pod["metadata"].get("annotations") or {}
    several = len(pod["spec"]["containers"]) > 1
    return str(annotations.get(template.BEHIND_ANNOTATION if several else template.TRANSPORT_ANNOTATION, "socket"))
