"""ONNX by onnxruntime, on the CPU.

Inputs and outputs are declared from the session, so that V2 metadata is exact and a tensor of another type is refused.
Sequences of maps (scikit-learn's "zipmap" probabilities) have no tensor in the protocol: they become one FP32 or FP64
matrix, with the classes in the output's parameter `classes` as a JSON list.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colonnade import defaults
from colonnade.errors import InferenceError, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import graphs, tables
from colonnade.runtimes.base import LoadOptions, framework, model_file, threads
from colonnade.wire.tensors import (
    InferRequest,
    InferResponse,
    Tensor,
    TensorSpec,
    datatype_of,
)

_log = logging.getLogger(__name__)

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_ZIPMAP = re.compile(r"^seq\(map\((?:int64|string),(tensor\((?:float|double)\))\)\)$")


class OnnxModel(Model):
    """An onnxruntime session; calls of it are safe from several threads."""

    platform = "onnxruntime_onnx"
    inline = True

    def __init__(self, name: str, session: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        super().__init__(name)
        self.session = session
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._output_names = [output.name for output in outputs]
        if graphs.rows_are_free((*inputs, *outputs)):
            self.max_batch_size = defaults.MAX_BATCH_SIZE
        self._takes_text = any(spec.datatype == "BYTES" for spec in inputs)

    def predict(self, request: InferRequest) -> InferResponse:
        """Runs the graph for the outputs that the caller asked for, or all.

        Raises:
            InvalidInput: an unknown output is asked for, or a text is not UTF-8.
            InferenceError: the graph refuses the tensors, or gives what the protocol cannot carry.
        """
        wanted = graphs.wanted(request.outputs, self._output_names) if request.outputs else self._output_names
        if self._takes_text:
            feeds = {tensor.name: tables.texts(tensor.data) for tensor in request.inputs}
        else:
            feeds = {tensor.name: tensor.data for tensor in request.inputs}
        try:
            results = self.session.run(wanted, feeds)
        except Exception as error:  # onnxruntime has one class for each status and no common base
            _log.warning("onnxruntime refused a request", extra={"model": self.name, "cause": str(error)})
            raise InferenceError(
                "the model could not run on these tensors; the replica's log has the reason"
            ) from error
        return InferResponse(self.name, list(map(_tensor, wanted, results)))

    def example(self) -> InferRequest | None:
        """Rows of small numbers, if all sizes behind the first are fixed, and not of thousands."""
        return graphs.example(self.name, self.inputs)


def _tensor(name: str, result: Any) -> Tensor:
    """One output. A list is a zipmap: one mapping from class to number for each row."""
    if isinstance(result, np.ndarray):
        if result.dtype.kind in "UO":
            encoded = np.empty(result.size, dtype=np.object_)
            encoded[:] = [text.encode() if isinstance(text, str) else text for text in result.ravel()]
            result = encoded.reshape(result.shape)
        return Tensor(name, datatype_of(result), result.shape, result)
    if not isinstance(result, list) or not all(isinstance(row, Mapping) for row in result):
        raise InferenceError(
            f"the model's output {name} is neither a tensor nor a list of maps; convert it in the graph"
        )
    classes = list(result[0]) if result else []
    if any(list(row) != classes for row in result):
        raise InferenceError(f"the model's output {name} has other classes in each row; convert it without zipmap")
    matrix = np.array([list(row.values()) for row in result], dtype=np.float32).reshape(len(result), len(classes))
    return Tensor(name, datatype_of(matrix), matrix.shape, matrix, {"classes": json.dumps(classes)})


def _spec(node: Any, file: Path, *, output: bool) -> TensorSpec:
    """What the session says of an input or output; symbolic dimensions are free."""
    zipmap = _ZIPMAP.match(node.type) if output else None
    if zipmap is not None:
        return TensorSpec(node.name, "FP32", (-1, -1))
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        side = "output" if output else "input"
        raise LoadFailed(
            f"{file}: the {side} {node.name} is a {node.type}, which the protocol cannot carry; convert it"
        )
    return TensorSpec(node.name, datatype, tuple(size if isinstance(size, int) else -1 for size in node.shape))


class OnnxRuntime:
    """Loads ONNX graphs."""

    name = "onnx"
    formats = ("onnx",)
    suffixes = (".onnx",)

    def load(self, name: str, path: Path, options: LoadOptions) -> OnnxModel:
        """Load the one graph at `path`. One prediction uses `OMP_NUM_THREADS` threads inside an operator, else one,
        and never runs operators side by side.

        Raises:
            LoadFailed: see `base.Runtime.load`; or an input or output has a type that the protocol cannot carry.
        """
        file = model_file(path, self.suffixes)
        runtime = framework("onnxruntime", None, "onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = threads(options.env)
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        try:
            session = runtime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # one class for each status and no common base
            raise LoadFailed(f"{file} cannot be loaded by onnxruntime: {error}") from error
        inputs = [_spec(node, file, output=False) for node in session.get_inputs()]
        outputs = [_spec(node, file, output=True) for node in session.get_outputs()]
        return OnnxModel(name, session, inputs, outputs)
