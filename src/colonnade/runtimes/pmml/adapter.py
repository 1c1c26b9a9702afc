"""The adapter: rows of a request in, the model's fields out.

Behaves as KServe's pmmlserver: rows are lists in the order of the model's inputs, or objects by name; V1 answers one
object for each row, V2 one output for each field. The declared inputs are one column for each field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes.base import LoadOptions, model_file, require_width
from colonnade.runtimes.pmml.document import read
from colonnade.runtimes.pmml.fields import names
from colonnade.runtimes.pmml.models import Compiled, model_of
from colonnade.runtimes.pmml.score import Result
from colonnade.runtimes.pmml.values import DATATYPES, Value
from colonnade.runtimes.pmml.verification import verify
from colonnade.wire.tensors import DTYPES, InferRequest, InferResponse, Tensor, TensorSpec

_MISSING: Mapping[str, Any] = {"BYTES": b"", "FP32": np.nan, "FP64": np.nan}


class PmmlModel(Model):
    """A compiled PMML model."""

    platform = "pmml"
    lenient = True

    def __init__(self, name: str, compiled: Compiled) -> None:
        super().__init__(name)
        self._compiled = compiled
        self._names = names(compiled.schema.inputs)
        self.inputs = [
            TensorSpec(each.field.name, DATATYPES[each.field.datatype], (-1,)) for each in compiled.schema.inputs
        ]
        target = compiled.target
        shown = [] if target.name == "_target" else [(target.name, DATATYPES[target.datatype])]
        shown += [(name, DATATYPES[datatype]) for name, datatype in compiled.answers.items()]
        self.outputs = [TensorSpec(field, datatype, (-1,)) for field, datatype in dict(shown).items()]

    def predict(self, payload: Any) -> Any:
        """Each row's target and output fields: objects for V1, tensors for V2.

        Raises:
            InvalidInput: the rows do not fit the model, or hold a value that it refuses; names the field.
        """
        if isinstance(payload, InferRequest):
            return self._tensors([self._answer(row) for row in self._sent(payload)])
        if not isinstance(payload, dict):
            raise InvalidInput('The request is no JSON; send {"instances": [...]} with one list or object for each row')
        return {"predictions": [self._answer(row) for row in self._rows(payload)]}

    def _answer(self, row: Mapping[str, Any]) -> dict[str, Value]:
        result: Result = self._compiled.evaluate(row)
        target = self._compiled.target.name
        found: dict[str, Value] = {} if target == "_target" else {target: result.score.value}
        found |= {name: result.outputs.get(name) for name in self._compiled.answers}
        return found or {"predictedValue": result.score.value}

    def _rows(self, payload: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """The rows of a V1 body."""
        values = payload.get("inputs", payload.get("instances"))
        if isinstance(values, np.ndarray):
            values = values.tolist()
        if isinstance(values, dict):  # columns
            return self._of_columns(values)
        if not isinstance(values, list):
            raise InvalidInput('The request has neither "instances" nor "inputs"; send {"instances": [...]}')
        return [self._row(position, row) for position, row in enumerate(values)]

    def _row(self, position: int, row: Any) -> Mapping[str, Any]:
        if isinstance(row, list):
            require_width(len(row), len(self._names))
            row = dict(zip(self._names, row, strict=True))
        if not isinstance(row, dict):
            raise InvalidInput(
                f"instances[{position}] is no row; send a list or an object with {', '.join(self._names)}"
            )
        self._require_known(row)
        for name, value in row.items():
            if isinstance(value, (list, dict)):
                raise InvalidInput(f'Field "{name}" of instances[{position}] is no single value; send one')
        return row

    def _sent(self, request: InferRequest) -> Iterable[Mapping[str, Any]]:
        """The rows of a V2 request: one matrix, or one column for each field."""
        inputs = request.inputs
        if len(inputs) == 1 and inputs[0].name not in self._names:
            array = inputs[0].data
            if array.ndim != 2:
                raise InvalidInput(
                    f'Input "{inputs[0].name}" has shape {list(array.shape)}, but the model takes rows: '
                    f"[n, {len(self._names)}], or one input for each of {', '.join(self._names)}"
                )
            require_width(array.shape[1], len(self._names))
            return [dict(zip(self._names, row, strict=True)) for row in array.tolist()]
        return self._of_columns({tensor.name: tensor.data.reshape(-1).tolist() for tensor in inputs})

    def _of_columns(self, columns: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        self._require_known(columns)
        sizes = {len(column) if isinstance(column, (list, np.ndarray)) else -1 for column in columns.values()}
        if len(sizes) != 1 or -1 in sizes:
            raise InvalidInput("The columns of the request must be lists of one length")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _require_known(self, given: Collection[str]) -> None:
        """A field that is left out is a missing value, and one that the model has no use for is dropped; both together
        are a misspelt name."""
        strays = [name for name in given if name not in self._names]
        if strays and not set(self._names) <= set(given):
            known = ", ".join(self._names)
            raise InvalidInput(f"the model has no fields {', '.join(map(str, strays[:8]))}; its fields are {known}")

    def _tensors(self, answers: Sequence[Mapping[str, Value]]) -> InferResponse:
        declared = {spec.name: spec.datatype for spec in self.outputs}
        columns = dict.fromkeys(name for answer in answers for name in answer) or declared
        return InferResponse(
            self.name,
            [_column(name, declared.get(name, "BYTES"), [answer[name] for answer in answers]) for name in columns],
        )


def _column(name: str, datatype: str, values: Sequence[Value]) -> Tensor:
    """One field of all rows; a missing number is NaN and a missing text is empty, whole numbers then become FP64."""
    if None in values and datatype not in _MISSING:
        datatype = "FP64"
    if datatype in ("INT64", "BOOL") and any(isinstance(value, float) and not value.is_integer() for value in values):
        datatype = "FP64"
    missing = _MISSING.get(datatype)
    filled = [missing if value is None else str(value).encode() if datatype == "BYTES" else value for value in values]
    array = np.empty(len(filled), dtype=DTYPES[datatype])
    array[:] = filled
    return Tensor(name, datatype, array.shape, array)


class PmmlRuntime:
    """Loads PMML documents."""

    name = "pmml"
    formats = ("pmml",)
    suffixes = (".pmml",)

    def load(self, name: str, path: Path, options: LoadOptions) -> PmmlModel:
        """Load the one document at `path`, and hold its own verification records against what is computed here.

        Raises:
            LoadFailed: see `base.Runtime.load`; or the document asks for what is not evaluated, or its own records
                come out otherwise.
        """
        file = model_file(path, self.suffixes)
        try:
            compiled, element = model_of(read(file))
            verify(compiled, element)
        except (ValueError, OverflowError, RecursionError) as error:  # a constant that is not of its type, mostly
            raise LoadFailed(f"{file} holds a value that cannot be read: {error}; export the model again") from error
        return PmmlModel(name, compiled)
