"""MLflow: a folder with an `MLmodel` file, by its flavour where that is a framework of ours, else by `mlflow.pyfunc`.

A flavour that an adapter here knows is loaded by that adapter, with its allow-list for pickles and without MLflow. All
else is Python code in a pickle, which MLflow loads: with consent, in an environment that has what the folder's
`requirements.txt` asks for. The signature becomes V2 metadata; columns come in its order whatever order was sent, and
numbers of a narrower type are widened to its own, as MLflow does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from colonnade import defaults
from colonnade.errors import InvalidInput, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import tables
from colonnade.runtimes.base import LoadOptions, framework, require_width
from colonnade.runtimes.lightgbm import LightGBMRuntime
from colonnade.runtimes.onnx import OnnxRuntime
from colonnade.runtimes.sklearn import SklearnRuntime
from colonnade.runtimes.xgboost import XGBoostRuntime
from colonnade.wire.tensors import DTYPES, TensorSpec

if TYPE_CHECKING:
    import pandas

_Load = Callable[[str, Path, LoadOptions], Model]

_FILE = "MLmodel"
_TYPES: Mapping[str, str] = {  # of a signature's column
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    "binary": "BYTES",
}
_DTYPES = {dtype.name: name for name, dtype in DTYPES.items() if name not in ("BYTES", "BF16")}
_TEXTS = ("object", "str", "string")


@dataclass(frozen=True, slots=True)
class _Signature:
    """Attributes:
    columns: the inputs are columns of a table, matched by name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    columns: bool


class SignedModel(Model):
    """What MLflow saved, held against the signature that it was saved with."""

    platform = "mlflow"
    lenient = True

    def __init__(
        self,
        name: str,
        inner: Any,
        signature: _Signature,
        *,
        frames: bool = False,
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        """
        Args:
            inner: what predicts: a model of an adapter, or of `mlflow.pyfunc`.
            frames: `inner` wants a data frame where the signature has columns.
            refusals: what `inner` raises for a request that does not fit it.
        """
        super().__init__(name)
        self._inner = inner
        self._frames = frames and signature.columns
        self._refusals = refusals
        self._names = [spec.name for spec in signature.inputs] if signature.columns else []
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.max_batch_size = getattr(inner, "max_batch_size", 0)

    def predict(self, table: np.ndarray | pandas.DataFrame) -> Any:
        """The model's answer for a matrix, or for named columns.

        Raises:
            InvalidInput: columns are missing, or hold what cannot become the signature's type without loss.
        """
        if isinstance(table, np.ndarray):
            given: Any = tables.texts(table)
            if self._frames:
                if given.ndim != 2:
                    raise InvalidInput(f"the model takes rows of {len(self._names)} columns; put each row into a list")
                require_width(given.shape[1], len(self._names), "columns")
                frame = framework("pandas", "pandas", "pandas").DataFrame(given, columns=self._names)
                given = self._typed(frame)
            elif not self._names and self.inputs:
                given = self._fitting(given)
        elif not self._names:
            given = table
        elif tables.is_named(table):
            given = self._typed(tables.selected(table, self._names))
        else:
            require_width(table.shape[1], len(self._names), "columns")
            given = self._typed(table.set_axis(self._names, axis=1))
        try:
            return self._inner.predict(given)
        except self._refusals as error:
            raise InvalidInput(f"the request does not fit the model: {str(error).partition(chr(10))[0]}") from error

    def _typed(self, frame: pandas.DataFrame) -> pandas.DataFrame:
        """The columns as the signature's types."""
        for spec in self.inputs:
            column = frame[spec.name]
            if spec.datatype != "BYTES":
                frame = frame.assign(**{spec.name: _widened(spec, column.to_numpy())})
            elif column.dtype.kind in "biuf":
                raise InvalidInput(f'Column "{spec.name}" holds numbers, and the model takes text; send strings')
        return frame

    def _fitting(self, array: np.ndarray) -> np.ndarray:
        [spec, *others] = self.inputs
        if others:
            names = ", ".join(each.name for each in self.inputs)
            raise InvalidInput(f"the model takes the inputs {names}; send each by name")
        return array if spec.datatype == "BYTES" else _widened(spec, array)


def _widened(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    """The numbers as the declared type, if they are all the same in it."""
    dtype = DTYPES[spec.datatype]
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "biuf" and (dtype.kind != "b" or array.dtype.kind == "b"):
        with np.errstate(all="ignore"):
            cast = array.astype(dtype)
        if dtype.kind == "f" or np.array_equal(cast, array):
            return cast
    raise InvalidInput(f'"{spec.name}" holds values that are no {spec.datatype}, which the model takes')


class MLflowRuntime:
    """Loads folders of MLflow."""

    name = "mlflow"
    formats = ("mlflow",)
    suffixes = ("",)

    def load(self, name: str, path: Path, options: LoadOptions) -> Model:
        """Load the model in the folder `path`.

        Raises:
            LoadFailed: see `base.Runtime.load`; or it is code and there is no consent, or MLflow is not installed.
        """
        folder = path.parent if path.name == _FILE else path
        said = _read(folder / _FILE)
        flavors = said["flavors"]
        signature = _signature(said.get("signature"), folder)
        native = _native(flavors, folder)
        if native is not None:
            load, file, settings = native
            inner = load(name, file, replace(options, env={**options.env, **settings}))
            if inner.inputs and not inner.lenient:
                return inner  # the graph's own declaration is exact
            return SignedModel(name, inner, signature) if signature.inputs else inner
        if "python_function" not in flavors:
            raise LoadFailed(f"{folder / _FILE} has the flavours {', '.join(flavors)}, and none is python_function")
        if not options.trust_code:
            loader = flavors["python_function"].get("loader_module", "mlflow.pyfunc")
            raise LoadFailed(
                f"{folder} is Python code in MLflow's {loader} flavour, which is not run without consent. If you trust "
                f'who made it, consent with the annotation {defaults.TRUST_CODE}: "true" or with --trust-code: '
                "it then runs with this server's rights."
            )
        pyfunc = framework("mlflow.pyfunc", "mlflow", "mlflow-skinny")
        try:
            loaded = pyfunc.load_model(str(folder))
        except Exception as error:  # the model's code may raise anything
            cause = " ".join(str(error).split())[:300]
            raise LoadFailed(f"{folder} cannot be loaded by MLflow: {cause}; see its requirements.txt") from error
        refusals = (framework("mlflow.exceptions", "mlflow", "mlflow-skinny").MlflowException,)
        return SignedModel(name, loaded, signature, frames=True, refusals=refusals)


def _read(file: Path) -> dict[str, Any]:
    """The MLmodel file."""
    if not file.is_file():
        raise LoadFailed(f"{file.parent} holds no {_FILE} file; give the folder that mlflow's save_model wrote")
    try:
        said = yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LoadFailed(f"{file} is no YAML: {str(error).partition(chr(10))[0]}; save the model again") from error
    if not isinstance(said, dict) or not isinstance(said.get("flavors"), dict):
        raise LoadFailed(f"{file} names no flavors; save the model again")
    return said


def _native(flavors: Mapping[str, Any], folder: Path) -> tuple[_Load, Path, dict[str, str]] | None:
    """The adapter for a flavour that is known here, its file, and settings; None if MLflow has to load it.

    Boosters are taken only as such: their scikit-learn wrappers answer with classes, and the file holds the booster.
    """
    function = flavors.get("python_function") or {}
    if "sklearn" in flavors and function.get("predict_fn", "predict") in ("predict", "predict_proba"):
        probabilities = {"PREDICT_PROBA": "true"} if function.get("predict_fn") == "predict_proba" else {}
        return SklearnRuntime().load, _inside(folder, flavors["sklearn"].get("pickled_model")), probabilities
    if "onnx" in flavors:
        return OnnxRuntime().load, _inside(folder, flavors["onnx"].get("data")), {}
    boosters: tuple[tuple[str, XGBoostRuntime | LightGBMRuntime, str], ...] = (
        ("xgboost", XGBoostRuntime(), "xgboost.core.Booster"),
        ("lightgbm", LightGBMRuntime(), "lightgbm.basic.Booster"),
    )
    for flavor, adapter, kind in boosters:
        said = flavors.get(flavor) or {}
        file = said.get("data")
        if said.get("model_class") == kind and isinstance(file, str) and Path(file).suffix in adapter.suffixes:
            return adapter.load, _inside(folder, file), {}
    return None


def _inside(folder: Path, file: Any) -> Path:
    """A file that the MLmodel names, which must lie in its folder."""
    if not isinstance(file, str) or not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise LoadFailed(f"{folder / _FILE} names the file {file!r}; it must be a path inside the folder")
    return folder / file


def _signature(said: Any, folder: Path) -> _Signature:
    """The signature; without one, or with types that no tensor has, nothing is declared."""
    if not isinstance(said, dict) or not said.get("inputs"):
        return _Signature((), (), columns=False)
    try:
        inputs, outputs = json.loads(said["inputs"]), json.loads(said.get("outputs") or "[]")
        specs = [_spec(each, f"input-{position}") for position, each in enumerate(inputs)]
        answers = [_spec(each, f"output-{position}") for position, each in enumerate(outputs)]
        columns = all(each.get("type") != "tensor" for each in inputs)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoadFailed(f"{folder / _FILE} has a signature that cannot be read: {error}; save it again") from error
    known = [spec for spec in specs if spec is not None]
    declared = tuple(known) if len(known) == len(specs) else ()
    return _Signature(declared, tuple(spec for spec in answers if spec is not None), columns=columns and bool(declared))


def _spec(said: Mapping[str, Any], unnamed: str) -> TensorSpec | None:
    """One input or output; None for what is no tensor: objects, arrays, dates."""
    name = str(said.get("name") or unnamed)
    if said["type"] != "tensor":
        datatype = _TYPES.get(said["type"])
        return None if datatype is None else TensorSpec(name, datatype, (-1,))
    tensor = said["tensor-spec"]
    datatype = "BYTES" if tensor["dtype"] in _TEXTS else _DTYPES.get(tensor["dtype"])
    return None if datatype is None else TensorSpec(name, datatype, tuple(int(size) for size in tensor["shape"]))
