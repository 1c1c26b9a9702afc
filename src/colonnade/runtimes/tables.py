"""Rows of features, checked before a framework sees them.

scikit-learn, XGBoost and LightGBM take the same input: a matrix whose columns are features, by position or by name.
What the caller got wrong is said here in one way, with names and numbers, instead of by each framework in its own.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from colonnade.errors import InvalidInput
from colonnade.runtimes.base import require_width
from colonnade.wire.tensors import InferRequest, Tensor, TensorSpec

if TYPE_CHECKING:
    import pandas

    from colonnade.model.contract import Model

_log = logging.getLogger(__name__)

_EXAMPLES = 4  # rows
_SHOWN = 8  # names of features that a message lists


def matrix(array: np.ndarray, width: int) -> np.ndarray:
    """A numeric matrix of shape (rows, `width`).

    Raises:
        InvalidInput: the array has other dimensions, another width, or holds text.
    """
    if array.dtype.kind not in "biuf":
        raise InvalidInput("the model takes numbers and the request has text; send numbers")
    if array.ndim != 2:
        raise InvalidInput(
            f"the model expects rows of {width} features, shape [rows, {width}], and the request has the shape "
            f"{list(array.shape)}; put each row into a list of its own"
        )
    require_width(array.shape[1], width)
    return array


def example(name: str, width: int, dtype: npt.DTypeLike = np.float32) -> InferRequest:
    """Some rows of numbers for the model `name`, to try it out; the same each time."""
    rows = np.random.default_rng(0).standard_normal((_EXAMPLES, width))
    return InferRequest(name, [Tensor.of("input-0", rows.astype(dtype))])


def described(model: Model, width: int) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a model over matrices of `width` columns, for its metadata.

    The output is what the model gives for the rows of `example` in double precision: no framework says it beforehand
    for all of its models. A model that fails on such rows declares no output.
    """
    inputs = [TensorSpec("input-0", "FP64", (-1, width))]
    rows = example(model.name, width, np.float64).inputs[0].data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about rows that nobody sent
            answer = Tensor.of("output-0", model.predict(rows))
    except Exception as error:  # estimators raise anything on rows that they were not made for
        _log.info("the outputs of %s are not declared: %s", model.name, error)
        return inputs, []
    if answer.shape[:1] != rows.shape[:1]:
        return inputs, []
    return inputs, [TensorSpec(answer.name, answer.datatype, (-1, *answer.shape[1:]))]


def texts(array: np.ndarray) -> np.ndarray:
    """UTF-8 `bytes` of a BYTES tensor as `str`; other arrays as they are.

    Raises:
        InvalidInput: an element is not UTF-8.
    """
    if array.dtype.kind != "O":
        return array
    decoded = np.empty(array.size, dtype=np.object_)
    try:
        decoded[:] = [element.decode() if isinstance(element, bytes) else element for element in array.ravel()]
    except UnicodeDecodeError:
        raise InvalidInput("a text of the request is not UTF-8; encode it so") from None
    return decoded.reshape(array.shape)


def is_named(frame: pandas.DataFrame) -> bool:
    """Whether the columns have names; a frame made of plain rows numbers them."""
    return bool(len(frame.columns)) and all(isinstance(column, str) for column in frame.columns)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def merged(frame: pandas.DataFrame) -> pandas.DataFrame:
    """One row for each run of rows that hold one value each, in different columns.

    `[{"a": 1}, {"b": 2}]` inside one instance is one row in pieces (KServe's `iris_input_v4.json`); pandas makes a
    diagonal of it, full of holes that no model can read.
    """
    present = frame.notna().to_numpy()
    if len(frame) < 2 or frame.shape[1] < 2 or not bool((present.sum(axis=1) == 1).all()):
        return frame
    columns = present.argmax(axis=1).tolist()
    rows: list[dict[str, Any]] = [{}]
    for position, column in enumerate(columns):
        name = frame.columns[column]
        if name in rows[-1]:
            rows.append({})
        rows[-1][name] = frame.iat[position, column]
    return type(frame)(rows, columns=frame.columns)


def selected(frame: pandas.DataFrame, names: Sequence[str], *, missing_allowed: bool = False) -> pandas.DataFrame:
    """The columns of these names, in this order.

    Columns that the model has no use for are dropped, as long as nothing is missing: then a stray name is a mistake.

    Args:
        frame: named columns.
        names: the model's features.
        missing_allowed: the framework reads a missing value (NaN) as such, as gradient boosters do.

    Raises:
        InvalidInput: names what is missing, and what came in its stead.
    """
    frame = merged(frame)
    given = set(frame.columns)
    missing = [name for name in names if name not in given]
    if not missing:
        return frame.loc[:, list(names)]
    wanted = set(names)
    strays = [str(name) for name in frame.columns if name not in wanted]
    if strays or not missing_allowed or len(missing) == len(names):
        instead = f"; it has {_listed(strays)}, which the model does not know" if strays else ""
        raise InvalidInput(f"the request lacks the features {_listed(missing)}{instead}; send all of {_listed(names)}")
    return frame.reindex(columns=list(names))


def numbers(frame: pandas.DataFrame) -> np.ndarray:
    """A frame's values as float64, shape (rows, columns).

    Raises:
        InvalidInput: a column holds something else.
    """
    try:
        values: np.ndarray = frame.to_numpy(dtype=np.float64)
        return values
    except (ValueError, TypeError):
        columns = [str(name) for name in frame.columns if frame[name].dtype.kind not in "biuf"]
        raise InvalidInput(f"the model takes numbers, and the columns {_listed(columns)} hold something else") from None
