"""tritonclient's stream over gRPC, as a program of its own: `python triton_stream.py TARGET`.

See `triton_grpc` for why. The model `m` doubles a row, or, if that begins with 0, answers each other number in a part.
"""

from __future__ import annotations

import sys
from queue import Queue

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

DEADLINE = 60.0
COUNT = 300

Answers = Queue[tuple[triton.InferResult | None, InferenceServerException | None]]


def tensor(*numbers: float) -> triton.InferInput:
    made = triton.InferInput("x", [1, len(numbers)], "FP32")
    made.set_data_from_numpy(np.array([numbers], np.float32))
    return made


def main(target: str) -> None:
    answers: Answers = Queue()

    def take() -> triton.InferResult:
        result, error = answers.get(timeout=DEADLINE)
        assert error is None, error
        return result

    def final(result: triton.InferResult) -> bool:
        return bool(result.get_response().parameters["triton_final_response"].bool_param)

    with triton.InferenceServerClient(target) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(COUNT):
            client.async_stream_infer("m", [tensor(i + 1, 1)], request_id=f"r{i}")
        for i in range(COUNT):
            result = take()
            assert result.get_response().id == f"r{i}"
            assert result.as_numpy("output-0").tolist() == [[2 * i + 2, 2]]
            assert final(result)

        client.async_stream_infer("zz", [tensor(1)], request_id="lost")
        client.async_stream_infer("m", [tensor(5)], request_id="next")
        result, error = answers.get(timeout=DEADLINE)
        assert result is None
        assert "zz" in error.message(), error
        assert take().get_response().id == "next"

        client.async_stream_infer("m", [tensor(0, 7, 8, 9)], request_id="t", enable_empty_final_response=True)
        client.async_stream_infer("m", [tensor(1)], request_id="behind")
        for number in (7, 8, 9):
            part = take()
            assert part.as_numpy("output-0").tolist() == [number]
            assert (part.get_response().id, final(part)) == ("t", False)
        end = take()
        assert (end.get_response().id, final(end), list(end.get_response().outputs)) == ("t", True, [])
        assert take().get_response().id == "behind"
        client.stop_stream()
        assert answers.empty()

        client.start_stream(lambda result, error: answers.put((result, error)), stream_timeout=0.3)
        client.async_stream_infer("m", [tensor(0, -1)])
        while (answer := answers.get(timeout=DEADLINE))[1] is None:
            assert answer[0].as_numpy("output-0").tolist() == [-1]
        _, error = answer
        assert error.status() == "StatusCode.DEADLINE_EXCEEDED", error
        client.stop_stream(cancel_requests=True)


if __name__ == "__main__":
    main(sys.argv[1])
