"""TensorFlow: a SavedModel folder by its signatures, over V2 and with the V1 bodies that TensorFlow Serving takes.

TensorFlow is installed in an environment of the model's own (`colonnade.dev/requirements`), or with the extra
`tensorflow`. V1 takes rows (`instances`, answered by `predictions`) and columns (`inputs`, answered by `outputs`),
`signature_name`, and binary values as `{"b64": ...}`. A SavedModel is a program: one whose graph holds an operation
that acts outside the model is refused without consent. Source: TensorFlow Serving, "RESTful API".
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from colonnade import defaults
from colonnade.errors import InvalidInput, LoadFailed
from colonnade.model.contract import Model
from colonnade.model.payloads import array_of
from colonnade.runtimes import graphs
from colonnade.runtimes.base import LoadOptions, framework, threads
from colonnade.wire.tensors import DTYPES, InferRequest, InferResponse, Tensor, TensorSpec, datatype_of

_log = logging.getLogger(__name__)

_FILE = "saved_model.pb"
_DEFAULT = "serving_default"
_DATATYPES = {dtype.name: name for name, dtype in DTYPES.items() if name not in ("BYTES", "BF16")} | {
    "bfloat16": "BF16",
    "string": "BYTES",
}
_REACH_OUT = (
    frozenset(  # read or write files of the machine, or run Python; a SavedModel's own files are read otherwise
        [
            "ReadFile",
            "WriteFile",
            "MatchingFiles",
            "PyFunc",
            "PyFuncStateless",
            "EagerPyFunc",
            "NumpyFunc",
            "FixedLengthRecordReaderV2",
            "TextLineReaderV2",
            "TFRecordReaderV2",
            "WholeFileReaderV2",
            "TextLineDataset",
            "TFRecordDataset",
            "FixedLengthRecordDatasetV2",
            "WriteScalarSummary",
            "WriteRawProtoSummary",
            "DebugIdentityV2",
            "ImmutableConst",
            "RpcCall",
            "RpcClient",
        ]
    )
)


@dataclass(frozen=True, slots=True)
class _Signature:
    function: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class TensorFlowModel(Model):
    """The signatures of a SavedModel; the default one is what V2's metadata describes."""

    platform = "tensorflow_savedmodel"

    def __init__(self, name: str, tensorflow: Any, loaded: Any, signatures: Mapping[str, _Signature]) -> None:
        """
        Args:
            loaded: what was loaded, which must live as long as its functions.
        """
        super().__init__(name)
        self._tensorflow = tensorflow
        self._loaded = loaded
        self._signatures = signatures
        self._default = _DEFAULT if _DEFAULT in signatures else next(iter(signatures))
        self.inputs = signatures[self._default].inputs
        self.outputs = signatures[self._default].outputs

    def predict(self, payload: Any) -> Any:
        """Runs a signature: rows or columns of V1, or the tensors of V2.

        Raises:
            InvalidInput: the request does not fit the signature, or names one that the model has not.
        """
        if isinstance(payload, InferRequest):
            return self._tensors(payload)
        if not isinstance(payload, dict):
            raise InvalidInput('The request is no JSON; send {"instances": [...]} or {"inputs": {...}}')
        signature = self._named(payload.get("signature_name", self._default))
        if "instances" in payload:
            return {"predictions": self._rows(signature, payload["instances"])}
        if "inputs" in payload:
            return {"outputs": self._columns(signature, payload["inputs"])}
        raise InvalidInput('The request has neither "instances" (rows) nor "inputs" (columns); send one of them')

    def example(self) -> InferRequest | None:
        """Rows of small numbers, if all sizes behind the first are known."""
        return graphs.example(self.name, self.inputs)

    def _named(self, name: Any) -> _Signature:
        found = self._signatures.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(self._signatures)
            raise InvalidInput(f"signature_name is {name!r}, and the model has the signatures {known}")
        return found

    def _tensors(self, request: InferRequest) -> InferResponse:
        results = self._run(self._signatures[self._default], {tensor.name: tensor.data for tensor in request.inputs})
        wanted = graphs.wanted(request.outputs, list(results)) if request.outputs else list(results)
        return InferResponse(self.name, [_tensor(name, results[name]) for name in wanted])

    def _rows(self, signature: _Signature, rows: Any) -> list[Any]:
        """Row format: each row a value of the one input, or an object by input; answers row by row."""
        if isinstance(rows, np.ndarray):
            rows = rows.tolist()
        names = [spec.name for spec in signature.inputs]
        by_name = isinstance(rows, list) and rows and all(isinstance(row, dict) and "b64" not in row for row in rows)
        if by_name:
            for row in rows:
                if set(row) != set(names):
                    raise InvalidInput(
                        f'A row of "instances" has {", ".join(row)}, and the model takes {", ".join(names)}'
                    )
            columns: dict[str, Any] = {name: [row[name] for row in rows] for name in names}
        elif len(names) == 1:
            columns = {names[0]: rows}
        else:
            raise InvalidInput(f'Each row of "instances" must be an object with {", ".join(names)}')
        results = self._run(signature, self._arrays(signature, columns))
        for name, result in results.items():
            if result.shape[:1] != (len(rows),):
                raise InvalidInput(
                    f'The output "{name}" has shape {list(result.shape)} for {len(rows)} rows, so it cannot be parted '
                    'among them; send columns as "inputs"'
                )
        listed = {name: _plain(name, result) for name, result in results.items()}
        if len(listed) == 1:
            return next(iter(listed.values()))
        return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]

    def _columns(self, signature: _Signature, values: Any) -> Any:
        """Column format: the one input's value, or an object of values by input; answers alike."""
        names = [spec.name for spec in signature.inputs]
        columns = values if isinstance(values, dict) and "b64" not in values else {names[0]: values}
        if set(columns) != set(names):
            raise InvalidInput(f'"inputs" has {", ".join(columns)}, and the model takes {", ".join(names)}')
        results = self._run(signature, self._arrays(signature, columns))
        listed = {name: _plain(name, result) for name, result in results.items()}
        if len(listed) > 1:
            return listed
        [only] = listed.values()  # as a list: an object of nothing but arrays is no answer yet to the server
        return list(only) if np.ndim(only) else only

    def _arrays(self, signature: _Signature, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {
            spec.name: _texts(spec, columns[spec.name])
            if spec.datatype == "BYTES"
            else array_of(f'"{spec.name}"', columns[spec.name], spec)
            for spec in signature.inputs
        }

    def _run(self, signature: _Signature, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensorflow = self._tensorflow
        given = {
            spec.name: tensorflow.cast(arrays[spec.name], tensorflow.bfloat16)
            if spec.datatype == "BF16"
            else tensorflow.constant(arrays[spec.name])
            for spec in signature.inputs
        }
        try:
            results = signature.function(**given)
        except (tensorflow.errors.InvalidArgumentError, ValueError, TypeError) as error:
            _log.warning("the graph refused a request", extra={"model": self.name, "cause": str(error)})
            shapes = ", ".join(f'"{name}" {list(array.shape)}' for name, array in arrays.items())
            raise InvalidInput(f"the model could not run on {shapes}; the replica's log has the reason") from error
        return {spec.name: np.asarray(results[spec.name].numpy()) for spec in signature.outputs}


def _texts(spec: TensorSpec, values: Any) -> np.ndarray:
    """Nested lists of texts, or of `{"b64": ...}`, as an array of bytes."""
    decoded = _unpacked(spec.name, values)
    shape: list[int] = []
    level: list[Any] = [decoded]
    while level and all(isinstance(each, list) for each in level):
        if len({len(each) for each in level}) > 1:
            raise InvalidInput(f'"{spec.name}" does not form a regular array; give all rows the same length')
        shape.append(len(level[0]))
        level = [element for each in level for element in each]
    if any(isinstance(each, list) for each in level):
        raise InvalidInput(f'"{spec.name}" does not form a regular array; give all rows the same length')
    array = np.empty(len(level), dtype=np.object_)
    array[:] = level
    return array.reshape(shape)


def _unpacked(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(name, each) for each in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(f'"{name}" has a "b64" that is no base64; encode it again') from None
    raise InvalidInput(f'"{name}" takes text, or binary as {{"b64": "..."}}, and the request has {value!r}')


def _plain(name: str, array: np.ndarray) -> Any:
    """An output for JSON: text as text, and binary (a name ending in `_bytes`) as base64."""
    if array.dtype.kind not in "OS":
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    return _written(array.tolist(), binary=name.endswith("_bytes"))


def _written(value: Any, *, binary: bool) -> Any:
    if isinstance(value, list):
        return [_written(each, binary=binary) for each in value]
    return {"b64": base64.b64encode(value).decode()} if binary else value


def _tensor(name: str, array: np.ndarray) -> Tensor:
    return Tensor(name, datatype_of(array), array.shape, array)


class TensorFlowRuntime:
    """Loads SavedModels."""

    name = "tensorflow"
    formats = ("tensorflow",)
    suffixes = (".pb",)

    def load(self, name: str, path: Path, options: LoadOptions) -> TensorFlowModel:
        """Load the SavedModel at `path`, or the highest of its numbered versions, as TensorFlow Serving does.

        One prediction uses `OMP_NUM_THREADS` threads inside an operation, else one.

        Raises:
            LoadFailed: see `base.Runtime.load`; or its graph acts outside the model and there is no consent.
        """
        folder = saved_model(path)
        tensorflow = framework("tensorflow", "tensorflow", "tensorflow-cpu")
        _limit_threads(tensorflow, threads(options.env))
        if not options.trust_code:
            _require_harmless(folder)
        try:
            loaded = tensorflow.saved_model.load(str(folder))
            signatures = {str(key): _signature(function, folder) for key, function in sorted(loaded.signatures.items())}
        except LoadFailed:
            raise
        except Exception as error:  # the reader has no common error
            first = str(error).strip().partition("\n")[0]
            raise LoadFailed(f"{folder} cannot be loaded by TensorFlow: {first}; save it again") from error
        if not signatures:
            raise LoadFailed(f"{folder} has no signature; save it with tf.saved_model.save(..., signatures=...)")
        model = TensorFlowModel(name, tensorflow, loaded, signatures)
        if folder != path and folder.name.isdecimal():
            model.version = folder.name
        return model


def saved_model(path: Path) -> Path:
    """The folder with the SavedModel: `path`, or its subfolder with the highest number.

    Raises:
        LoadFailed: there is none.
    """
    folder = path.parent if path.name == _FILE else path
    if (folder / _FILE).is_file():
        return folder
    versions = [each for each in folder.iterdir() if each.name.isdecimal()] if folder.is_dir() else []
    found = max((each for each in versions if (each / _FILE).is_file()), key=lambda each: int(each.name), default=None)
    if found is None:
        raise LoadFailed(f"{path} holds no SavedModel: no {_FILE}, nor a folder with a number that holds one")
    return found


def _limit_threads(tensorflow: Any, count: int) -> None:
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(count)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:  # a model was loaded in this process before
        _log.warning("the threads of TensorFlow stay as they were", extra={"cause": str(error)})


def _require_harmless(folder: Path) -> None:
    module = framework("tensorflow.core.protobuf.saved_model_pb2", "tensorflow", "tensorflow-cpu")
    saved = module.SavedModel()
    try:
        saved.ParseFromString((folder / _FILE).read_bytes())
    except Exception as error:  # protobuf's error differs between its versions
        raise LoadFailed(f"{folder / _FILE} is cut off or no SavedModel: {error}; copy it again") from error
    found = sorted(_REACH_OUT.intersection(_operations(saved)))
    if found:
        raise LoadFailed(
            f"{folder}: its graph holds {', '.join(found)}, which act outside the model. If you trust who made it, "
            f'consent with the annotation {defaults.TRUST_CODE}: "true" or with --trust-code'
        )


def _operations(saved: Any) -> Iterator[str]:
    for graph in saved.meta_graphs:
        yield from (node.op for node in graph.graph_def.node)
        for function in graph.graph_def.library.function:
            yield from (node.op for node in function.node_def)


def _signature(function: Any, folder: Path) -> _Signature:
    _, inputs = function.structured_input_signature
    return _Signature(
        function,
        tuple(_spec(name, spec, folder) for name, spec in sorted(inputs.items())),
        tuple(_spec(name, spec, folder) for name, spec in sorted(function.structured_outputs.items())),
    )


def _spec(name: str, spec: Any, folder: Path) -> TensorSpec:
    datatype = _DATATYPES.get(spec.dtype.name)
    if datatype is None or spec.shape.rank is None:
        what = "a free number of dimensions" if datatype else f"the type {spec.dtype.name}"
        raise LoadFailed(f"{folder}: {name} has {what}, which the protocol cannot carry; save it with a fixed one")
    return TensorSpec(name, datatype, tuple(-1 if size is None else int(size) for size in spec.shape))
