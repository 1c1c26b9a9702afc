"""Several instances of a model, and instances in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from colonnade.server.crossing import Channel
from colonnade.server.isolated import IsolatedModel

from .replica import Replica, Start, until

# Each instance says which it is, and waits until as many as `together` are in `predict` at once.
MEETING = """
    import os
    import time
    from pathlib import Path
    from colonnade import InvalidInput, Model

    class Meeting(Model):
        def load(self):
            self.me = f"{os.getpid()}-{time.monotonic_ns()}"

        def predict(self, payload):
            folder = Path(payload["folder"])
            (folder / self.me).touch()
            while len(list(folder.iterdir())) < payload["together"]:
                time.sleep(0.001)
            return {"predictions": [os.getpid()]}
"""
# Does what its rows say; a row of it is a code.
OBEYING = """
    import os
    import signal
    from pathlib import Path
    import numpy as np
    from colonnade import InferenceError, InvalidInput, Model

    class Obeying(Model):
        max_batch_size = 32

        def load(self):
            self.ballast = np.ones(40_000_000, np.uint8)

        def predict(self, x: np.ndarray) -> np.ndarray:
            if (x == -1).any():
                os.kill(os.getpid(), signal.SIGKILL)
            if (x == -2).any():
                raise InvalidInput("minus two is refused")
            if (x == -3).any():
                raise KeyError("a secret")
            if (x == -4).any():
                raise InferenceError("minus four fails", retry_after=7)
            return x * 2

        def unload(self):
            self.path("unloaded").touch()
"""


def _children(replica: Replica) -> list[psutil.Process]:
    return psutil.Process(replica.process.pid).children()


def _ask(replica: Replica, *rows: float) -> httpx.Response:
    return replica.http.post("/v1/models/m:predict", json={"instances": [[row] for row in rows]})


@pytest.mark.parametrize("execution", ["thread", "process"])
async def test_instances_compute_side_by_side(start: Start, tmp_path: Path, execution: str) -> None:
    replica = start("--model-name", "m", "--instances", "2", "--execution", execution, code=MEETING).ready()
    body = {"folder": str(tmp_path), "together": 2}
    async with replica.async_client() as client:
        answers = await asyncio.gather(*[client.post("/v1/models/m:predict", json=body) for _ in range(2)])
    assert [answer.status_code for answer in answers] == [200, 200], "each waited for the other inside predict"
    processes = {answer.json()["predictions"][0] for answer in answers}
    if execution == "process":
        assert processes == {child.pid for child in _children(replica)}
    else:
        assert processes == {replica.process.pid}


@pytest.fixture(scope="module")
def obeying(start: Start) -> Replica:
    return start("--model-name", "m", "--execution", "process", code=OBEYING).ready()


def test_answers_are_those_of_a_model_in_the_replica(obeying: Replica) -> None:
    assert _ask(obeying, 1, 2.5).json() == {"predictions": [[2.0], [5.0]]}
    tensor = {"name": "x", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]}
    answer = obeying.http.post("/v2/models/m/infer", json={"id": "7", "inputs": [tensor]}).json()
    assert answer["id"] == "7"
    assert answer["outputs"] == [{"name": "output-0", "shape": [2, 1], "datatype": "FP32", "data": [2.0, 4.0]}]


def test_large_tensors_pass_whole(obeying: Replica) -> None:
    data = list(range(200_000))
    tensor = {"name": "x", "shape": [200, 1000], "datatype": "INT64", "data": data}
    answer = obeying.http.post("/v2/models/m/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == [2 * value for value in data]


@pytest.mark.parametrize(
    ("row", "status", "error"),
    [
        (-2, 400, "minus two is refused"),
        (-4, 500, "minus four fails"),
    ],
)
def test_errors_of_the_model_cross_as_they_are(obeying: Replica, row: int, status: int, error: str) -> None:
    answer = _ask(obeying, row)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_other_errors_are_logged_with_the_line_that_raised_them(obeying: Replica) -> None:
    answer = _ask(obeying, -3)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    logged = [text for line in obeying.log() for text in line.values() if isinstance(text, str)]
    assert any('raise KeyError("a secret")' in text and "KeyError: 'a secret'" in text for text in logged)


def test_a_crash_ends_its_request_and_not_the_replica(obeying: Replica) -> None:
    (before,) = _children(obeying)
    answer = _ask(obeying, -1)
    assert answer.status_code == 500
    assert "ended (signal SIGKILL) while it computed this request" in answer.json()["error"]
    assert _ask(obeying, 4).json() == {"predictions": [[8]]}, "the next request waits for the new process"
    (after,) = _children(obeying)
    assert after.pid != before.pid
    assert obeying.process.poll() is None


def test_a_process_that_dies_while_nobody_asks_is_replaced_without_an_error(obeying: Replica) -> None:
    (child,) = _children(obeying)
    child.kill()
    until(lambda: child.status() == psutil.STATUS_ZOMBIE and child.num_threads() <= 1, "its end")
    assert _ask(obeying, 5).json() == {"predictions": [[10]]}


async def test_a_crash_under_load_costs_only_those_in_the_call(start: Start) -> None:
    replica = start("--model-name", "m", "--execution", "process", "--instances", "2", code=OBEYING).ready()
    async with replica.async_client() as client:

        async def ask(number: int) -> tuple[int, httpx.Response]:
            return number, await client.post("/v1/models/m:predict", json={"instances": [[number]]})

        answers = await asyncio.gather(*[ask(-1 if number == 150 else number) for number in range(300)])
    lost = [answer for _, answer in answers if answer.status_code == 500]
    assert lost
    assert all("signal SIGKILL" in answer.json()["error"] for answer in lost)
    for number, answer in answers:
        if answer.status_code != 500:
            assert answer.json() == {"predictions": [[2 * number]]}
    assert len(lost) <= 32, "no more than one batch"
    until(lambda: len(_children(replica)) == 2, "the new process")


def test_unload_frees_the_process_and_its_memory(start: Start) -> None:
    replica = start("--model-name", "m", "--execution", "process", "--instances", "2", code=OBEYING).ready()
    children = _children(replica)
    assert len(children) == 2
    assert all(child.memory_info().rss > 40_000_000 for child in children)
    assert replica.http.post("/v2/repository/models/m/unload").status_code == 200
    assert not any(child.is_running() for child in children)
    assert (replica.folder / "unloaded").exists()
    assert replica.http.post("/v2/repository/models/m/load").status_code == 200
    assert _ask(replica, 1).json() == {"predictions": [[2]]}


def test_children_end_with_a_replica_that_is_killed(start: Start) -> None:
    replica = start("--model-name", "m", "--execution", "process", code=OBEYING).ready()
    (child,) = _children(replica)
    replica.signal(signal.SIGKILL)
    replica.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child's end")


async def test_sigterm_ends_the_children_after_the_last_answer(start: Start, tmp_path: Path) -> None:
    replica = start("--model-name", "m", "--execution", "process", code=MEETING).ready()
    (child,) = _children(replica)
    body = {"folder": str(tmp_path), "together": 2}
    async with replica.async_client() as client:
        asked = asyncio.create_task(client.post("/v1/models/m:predict", json=body))
        await asyncio.to_thread(until, lambda: list(tmp_path.iterdir()), "the prediction")
        os.kill(child.pid, signal.SIGTERM)  # as a signal for the whole group does
        replica.signal(signal.SIGTERM)
        await asyncio.to_thread(until, lambda: replica.logged("stopping"), "the stop")
        (tmp_path / "other").touch()
        assert (await asked).json() == {"predictions": [child.pid]}
    assert replica.wait() == 0
    assert not child.is_running()


SCRIPT = """
    import os
    import colonnade

    class Scripted(colonnade.Model):
        def preprocess(self, payload, headers):
            return {"agent": headers["x-agent"], "given": payload}

        def predict(self, payload, response_headers):
            response_headers["x-process"] = str(os.getpid())
            return {"predictions": [payload["agent"], payload["given"]["instances"]]}

        def explain(self, payload):
            return {"explanations": ["because"]}

    if __name__ == "__main__":
        colonnade.serve(Scripted)
"""


def test_a_script_serves_its_class_from_a_process_too(start: Start) -> None:
    replica = start("--model-name", "m", "--execution", "process", script=SCRIPT).ready()
    (child,) = _children(replica)
    answer = replica.http.post("/v1/models/m:predict", json={"instances": [1, None]}, headers={"x-agent": "a"})
    assert answer.json() == {"predictions": ["a", [1, None]]}
    assert answer.headers["x-process"] == str(child.pid)
    explained = replica.http.post("/v1/models/m:explain", json={"instances": [1]}, headers={"x-agent": "a"})
    assert explained.json() == {"explanations": ["because"]}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "async def predict(self, payload): return payload",
            "predict is async, which --execution process does not run",
        ),
        ("def predict(self): return 1", "takes no payload"),
        ("def predict(self, payload): return 1\n\n    def load(self): raise OSError('no disk')", "OSError: no disk"),
        ("def predict(self, payload): return 1\n\n    def load(self): import os; os._exit(9)", "ended (exit code 9)"),
    ],
)
def test_what_cannot_be_loaded_is_said(start: Start, code: str, message: str) -> None:
    code = f"from colonnade import Model\n\nclass Odd(Model):\n    {code}\n"
    replica = start("--execution", "process", "--instances", "2", code=code)
    assert replica.wait() == 3
    failed: Any = next(line for line in replica.log() if line["message"].startswith("the model cannot be loaded"))
    assert message in failed["message"]


def test_a_process_whose_answer_cannot_be_read_is_ended() -> None:
    model = IsolatedModel("m")
    ours, theirs = socket.socketpair()
    with theirs:  # it answers with a message of no bytes at all
        process = subprocess.Popen(["sh", "-c", "head -c 12 /dev/zero; exec sleep 60"], stdin=theirs, stdout=theirs)
    model._process, model._channel, model._loaded = process, Channel(ours), True
    with pytest.raises(msgspec.DecodeError):
        model.example()
    assert process.poll() == -signal.SIGKILL, "the next question goes to another one"
    assert model._process is None
