"""V2 JSON for the peers that have no V2 protocol: they get the body as parsed JSON and answer a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np


def decode(body: dict[str, Any]) -> np.ndarray[Any, Any]:
    tensor = body["inputs"][0]
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def encode(result: np.ndarray[Any, Any]) -> dict[str, Any]:
    datatype = {"i": "INT64", "f": "FP32"}[result.dtype.kind]
    output = {"name": "label", "datatype": datatype, "shape": list(result.shape), "data": result.ravel().tolist()}
    return {"model_name": "model", "outputs": [output]}
