"""tritonclient over gRPC against a replica, as a program of its own: `python triton_grpc.py TARGET`.

tritonclient and KServe's SDK register the same protobuf names, so no process can import both.
"""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ROWS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], dtype=np.float32)


def tensor(rows: np.ndarray) -> triton.InferInput:
    made = triton.InferInput("input-0", list(rows.shape), "FP32")
    made.set_data_from_numpy(rows)
    return made


def refusal(client: triton.InferenceServerClient, model: str, rows: np.ndarray, version: str = "") -> str:
    try:
        client.infer(model, [tensor(rows)], model_version=version)
    except InferenceServerException as error:
        return str(error.status())
    return "none"


def main(target: str) -> None:
    with triton.InferenceServerClient(target) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris", "1")
        assert client.get_server_metadata().name == "colonnade"
        assert list(client.get_model_metadata("iris").versions) == ["1"]
        result = client.infer("iris", [tensor(ROWS)], request_id="t2")
        assert result.as_numpy("output-0").tolist() == [1, 1]
        assert result.get_response().id == "t2"
        assert refusal(client, "zz", ROWS) == "StatusCode.NOT_FOUND"
        assert refusal(client, "iris", ROWS, "7") == "StatusCode.NOT_FOUND"
        assert refusal(client, "iris", ROWS[:, :3].copy()) == "StatusCode.INVALID_ARGUMENT"
        assert refusal(client, "iris", np.zeros((100_000, 4), np.float32)) == "StatusCode.RESOURCE_EXHAUSTED"


if __name__ == "__main__":
    main(sys.argv[1])
