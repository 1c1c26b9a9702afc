"""PyTorch on the CPU: graphs of `torch.export` (`.pt2`) and TorchScript (`.pt`, `.pth`), also in TorchServe's archives.

An exported program says its inputs and outputs exactly. TorchScript says the names of its inputs only; their datatypes
and shapes are read from `model-settings.json` beside it, and without that file requests are held against the names. A
pickled module or a state dictionary is no model by itself: it needs the class that made it, and runs code when it is
loaded. TorchScript is code in a small language of its own, which can read and write files; what does so is refused
without consent.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from colonnade import defaults
from colonnade.errors import InferenceError, InvalidInput, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import declared, graphs, torchserve
from colonnade.runtimes.base import LoadOptions, framework, model_file, threads
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor, TensorSpec, datatype_of

_log = logging.getLogger(__name__)

_DATATYPES: Mapping[str, str] = {  # by the name of torch's dtype
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float32": "FP32",
    "float64": "FP64",
}
_REACHES_OUT = re.compile(r"\b(?:torch|aten|ops\.aten)\.(save|load|from_file|_save|set_data)\b")
_ONLY_DATA = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # pickles inside an archive may hold tensors and nothing else

Forward = Callable[[Sequence[Any]], Any]


class TorchModel(Model):
    """A graph of PyTorch."""

    platform = "pytorch"
    inline = True

    def __init__(
        self, name: str, forward: Forward, names: Sequence[str], inputs: list[TensorSpec], outputs: list[TensorSpec]
    ) -> None:
        """
        Args:
            forward: runs the graph on tensors in the order of `names`.
            names: of the inputs that a caller must give.
            inputs: what is known of them: all, or nothing.
            outputs: what is known of the outputs; their names, if more.
        """
        super().__init__(name)
        self._forward = forward
        self._names = list(names)
        self.inputs, self.outputs = inputs, outputs
        if inputs and outputs and graphs.rows_are_free((*inputs, *outputs)):
            self.max_batch_size = defaults.MAX_BATCH_SIZE
        self._torch = framework("torch", "torch", "torch")

    def predict(self, request: InferRequest) -> InferResponse:
        """Runs the graph; gives the outputs that the caller asked for, or all.

        Raises:
            InvalidInput: inputs or outputs are not those of the graph, or the graph refuses their shapes.
        """
        tensors = [self._tensor(tensor) for tensor in self._ordered(request)]
        try:
            with self._torch.inference_mode():
                results = _flat(self._forward(tensors))
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:  # what graphs raise for shapes
            _log.warning("the graph refused a request", extra={"model": self.name, "cause": str(error)})
            given = ", ".join(f"{tensor.datatype} {list(tensor.shape)}" for tensor in request.inputs)
            undeclared = (
                f"; whole numbers of V1 become floats once {declared.FILE} beside the model declares its inputs"
            )
            raise InvalidInput(
                f"the model could not run on {given}; the replica's log has the reason"
                f"{'' if self.inputs else undeclared}"
            ) from error
        names = [spec.name for spec in self.outputs]
        found = {
            name or (names[position] if position < len(names) else f"output-{position}"): value
            for position, (name, value) in enumerate(results)
        }
        wanted = graphs.wanted(request.outputs, list(found)) if request.outputs else list(found)
        return InferResponse(self.name, [_answer(name, found[name]) for name in wanted])

    def example(self) -> InferRequest | None:
        """Rows of small numbers, if all sizes behind the first are known."""
        return graphs.example(self.name, self.inputs)

    def _ordered(self, request: InferRequest) -> list[Tensor]:
        """The inputs in the graph's order; one input is taken by any name, as V1 gives it none."""
        given = {tensor.name: tensor for tensor in request.inputs}
        if len(given) == len(self._names) == 1:
            return request.inputs
        missing = [name for name in self._names if name not in given]
        if missing or len(given) > len(self._names):
            raise InvalidInput(
                f"the model takes the inputs {', '.join(self._names)}, and the request has {', '.join(given) or 'none'}"
            )
        return [given[name] for name in self._names]

    def _tensor(self, tensor: Tensor) -> Any:
        array = tensor.data
        if array.dtype.kind == "O":
            raise InvalidInput(f'Input "{tensor.name}" is {tensor.datatype}, and a graph of PyTorch takes numbers')
        made = self._torch.from_numpy(array if array.flags.writeable else array.copy())
        if tensor.datatype == "BF16":
            return made.to(self._torch.bfloat16)
        if not self.inputs and made.dtype == self._torch.float64:
            return made.float()  # V1's numbers have no type; graphs compute in single precision
        return made


def _flat(result: Any) -> list[tuple[str | None, Any]]:
    """The tensors of a result, with the names that it gives them."""
    if isinstance(result, Mapping):
        return [(str(name), value) for name, value in result.items()]
    if isinstance(result, (tuple, list)):
        names = getattr(result, "_fields", [None] * len(result))
        return list(zip(names, result, strict=True))
    return [(None, result)]


def _answer(name: str, value: Any) -> Tensor:
    dtype = str(getattr(value, "dtype", "")).rpartition(".")[2]
    if dtype not in _DATATYPES:
        raise InferenceError(f"the model's output {name} is a {type(value).__name__} {dtype}, and no tensor of numbers")
    if dtype == "bfloat16":
        array: np.ndarray = value.float().numpy()
        return Tensor(name, "BF16", array.shape, array)
    array = value.numpy()
    return Tensor(name, datatype_of(array), array.shape, array)


class TorchRuntime:
    """Loads graphs of PyTorch."""

    name = "torch"
    formats = ("pytorch",)
    suffixes = (".pt2", ".pt", ".pth")

    def load(self, name: str, path: Path, options: LoadOptions) -> TorchModel:
        """Load the one graph at `path`; predictions use `OMP_NUM_THREADS` threads, else one.

        Raises:
            LoadFailed: see `base.Runtime.load`; or the file is a pickle, or reaches outside the model without consent;
                or an archive of TorchServe needs code of its own.
        """
        archive = torchserve.archive_at(path)
        if archive is None:
            return self._load(name, model_file(path, self.suffixes), options)
        with TemporaryDirectory(prefix="colonnade-") as folder:  # what is loaded is in memory
            return self._load(name, torchserve.unpacked(archive, Path(folder)), options)

    def _load(self, name: str, file: Path, options: LoadOptions) -> TorchModel:
        held = _members(file)
        if not options.trust_code:
            os.environ[_ONLY_DATA] = "1"  # read by torch.load, also where torch.export.load falls back from data alone
        torch = framework("torch", "torch", "torch")
        torch.set_num_threads(threads(options.env))
        if any(member.endswith("models/model.json") for member in held):
            return _exported(name, file, torch)
        if not any("/code/" in member for member in held):
            raise LoadFailed(
                f"{file} holds weights or a pickled module, and no graph; save it with torch.export.save(...) as .pt2, "
                "or with torch.jit.script(model).save(...) as .pt"
            )
        if not options.trust_code:
            _require_harmless(file)
        return _scripted(name, file, torch)


def _members(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise LoadFailed(
            f"{file} is no archive of PyTorch ({error}): it is cut off, or from a version before 1.6; save it again"
        ) from error


def _require_harmless(file: Path) -> None:
    """TorchScript that names an operator which acts outside the model needs consent."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            if "/code/" in member and member.endswith(".py"):
                found = _REACHES_OUT.search(archive.read(member).decode(errors="replace"))
                if found:
                    raise LoadFailed(
                        f"{file}: {member} calls {found.group(0)}, which acts outside the model. If you trust who made "
                        f'it, consent with the annotation {defaults.TRUST_CODE}: "true" or with --trust-code'
                    )


def _scripted(name: str, file: Path, torch: Any) -> TorchModel:
    try:
        module = torch.jit.load(str(file), map_location="cpu").eval()
        arguments = module.forward.schema.arguments[1:]
    except (RuntimeError, AttributeError, ValueError) as error:
        raise LoadFailed(f"{file} is no TorchScript with a forward: {_first_line(error)}; save it again") from error
    needed = [argument.name for argument in arguments if not argument.has_default_value()]
    inputs, outputs = declared.beside(file)
    if inputs and sorted(spec.name for spec in inputs) != sorted(needed):
        raise LoadFailed(
            f"{file.parent / declared.FILE} declares the inputs {', '.join(spec.name for spec in inputs)}, and forward "
            f"takes {', '.join(needed)}; name them alike"
        )
    return TorchModel(name, lambda tensors: module(*tensors), needed, inputs, outputs)


def _exported(name: str, file: Path, torch: Any) -> TorchModel:
    try:
        program = torch.export.load(str(file))
        module = program.module()
        signature = program.graph_signature
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        inputs = [_spec(each, each, values, file) for each in signature.user_inputs]
        labels = _labels(program, len(signature.user_outputs))
        outputs = [_spec(each, label, values, file) for each, label in zip(signature.user_outputs, labels, strict=True)]
    except LoadFailed:
        raise
    except Exception as error:  # the reader of archives has no common error
        raise LoadFailed(f"{file} cannot be loaded by torch.export: {_first_line(error)}; export it again") from error
    model = TorchModel(name, lambda tensors: module(*tensors), [spec.name for spec in inputs], inputs, outputs)
    model.max_batch_size = min(model.max_batch_size, _most_rows(program, values))
    return model


def _most_rows(program: Any, values: Mapping[str, Any]) -> int:
    """The most rows that the program was exported for; it refuses more."""
    leading = [values[node].shape[0] for node in program.graph_signature.user_inputs if values[node].dim()]
    ranges = program.range_constraints
    bounds = [
        ranges[size.node.expr].upper for size in leading if getattr(size, "node", None) and size.node.expr in ranges
    ]
    return min((int(bound) for bound in bounds if bound.is_finite), default=defaults.MAX_BATCH_SIZE)


def _labels(program: Any, count: int) -> list[str]:
    """Names of the outputs: the keys of a dictionary that the model returns, else `output-0`, `output-1`, …"""
    spec = program.call_spec.out_spec
    if spec.type is dict and len(spec.context) == count:
        return [str(key) for key in spec.context]
    return [f"output-{position}" for position in range(count)]


def _spec(node: Any, name: str, values: Mapping[str, Any], file: Path) -> TensorSpec:
    value = values.get(node)
    dtype = str(getattr(value, "dtype", "")).rpartition(".")[2]
    if dtype not in _DATATYPES or value is None:
        raise LoadFailed(f"{file}: {name} is no tensor of numbers, which the protocol could carry; export it otherwise")
    return TensorSpec(name, _DATATYPES[dtype], tuple(size if isinstance(size, int) else -1 for size in value.shape))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
