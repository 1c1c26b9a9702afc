"""What a user writes: a subclass of `Model`.

All hooks may be plain or `async` functions; plain ones run on a worker thread. Only `predict` is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from colonnade.errors import InvalidInput, NotImplementedByModel
from colonnade.wire.tensors import InferRequest, TensorSpec


class Predictor(Protocol):
    """The predictor behind a transformer or an explainer: KServe's `--predictor_host`, in whichever protocol it speaks.

    A payload is V1's dict, an `InferRequest`, or an array of rows, which is answered by an array.
    """

    async def predict(self, payload: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Its answer; `headers` are those of the request, of which those that trace or authorize it are passed on.

        Raises:
            Error: it refused or failed, with its status and text; or did not answer.
        """

    def ask(self, payload: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The same for hooks that are plain functions: waits for the answer."""


class Model:
    """A model that can be served.

    ```python
    class Iris(colonnade.Model):
        def load(self):
            self.classifier = joblib.load(self.path("model.joblib"))

        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.classifier.predict(x)
    ```

    The annotation of `predict`'s first parameter says what it is given, for every protocol alike:

    * `np.ndarray`: the one input tensor, or V1's `instances` as an array. Text is an object array of UTF-8 `bytes`.
    * several `np.ndarray` parameters: the input tensors, matched by name, or else by order.
    * `pandas.DataFrame`: one column for each tensor, or V1's rows; text columns hold `str`.
    * `np.ndarray | pandas.DataFrame`: a frame where the caller sent columns (V2 parameter `content_type: "pd"`, several
      tensors, or V1 objects), else an array.
    * `InferRequest`: the request with all its tensors.
    * anything else, or nothing: the payload as the protocol decoded it, a `dict` (V1) or an `InferRequest` (V2, gRPC).

    It may return an array, a list or tuple of arrays, a dict of arrays by output name, a data frame, an
    `InferResponse`, or for V1 any JSON value or bytes. As an async generator it answers in parts, each of them one of
    these, over the calls that carry streams. Hooks that have a parameter `headers` get the request's headers
    (lower-case names); `response_headers` is a dict that they may fill.
    The response objects of KServe's SDK are taken too: what has `outputs` with `name`, `datatype`, `shape` and data.

    Attributes:
        name: the name that clients call it by; the server sets it.
        version: the one version that is served.
        ready: whether it is loaded; the server sets it.
        inputs: declared inputs. If given, V2 requests are held against them and a mismatch is refused.
        outputs: declared outputs: they name the results of `predict`, in order.
        lenient: the declared tensors only describe the model in its metadata. `predict` takes more than them (other
            numeric types, columns by name) and judges itself what fits.
        platform: `platform` of the V2 metadata.
        inline: a promise that `predict` only computes: it never waits for input, output or a lock. Calls that prove to
            take well under a millisecond then run without a hop to a worker thread. Only the adapters that come with
            this package are believed: a user's model never runs inline, whatever it sets here.
        max_batch_size: a promise that rows are independent of each other: `predict` may be given the rows of several
            requests at once, up to so many, and gives one row of each output for each. 0: requests are never joined.
        preferred_batch_sizes: sizes at which the model is quick; as many rows are taken together if they wait.
        pad_batches: rows may be added up to the next preferred size; what is computed for them is thrown away.
        directory: the folder that holds the model's files; the server sets it.
        predictor: what a transformer or an explainer calls; the server sets it where it was told of one. Then a class
            without `predict` has one that passes the payload on, as in KServe's SDK.
    """

    name: str = "model"
    version: str = "1"
    ready: bool = False
    inputs: Sequence[TensorSpec] = ()
    outputs: Sequence[TensorSpec] = ()
    lenient: bool = False
    platform: str = ""
    inline: bool = False
    max_batch_size: int = 0
    preferred_batch_sizes: Sequence[int] = ()
    pad_batches: bool = False
    directory: Path = Path()
    predictor: Predictor | None = None

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def path(self, *parts: str) -> Path:
        """A file of the model, below its directory.

        Raises:
            InvalidInput: the path leads out of the directory.
        """
        if any(Path(part).is_absolute() or ".." in Path(part).parts for part in parts):
            raise InvalidInput(f"Path {'/'.join(parts)} leads out of the model's directory; use a path inside it")
        return self.directory.joinpath(*parts)

    def load(self) -> Any:
        """Loads what `predict` needs; called once, before the first request. May return False to say: not ready."""

    def preprocess(self, payload: Any, *args: Any, **kwargs: Any) -> Any:
        """Turns the request's payload into what `predict` takes (`headers` may be a parameter)."""
        return payload

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the answer; see the class for what it is given and may return."""
        raise NotImplementedByModel(f"Model with name {self.name} does not implement predict.")

    def postprocess(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Turns `predict`'s result into the answer (`headers`, `response_headers` may be parameters)."""
        return result

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        """Explains a prediction (V1 `:explain`); takes what `predict` takes. The refusal's text is KServe's."""
        raise NotImplementedByModel("Could not find explainer_host.")

    def example(self) -> InferRequest | None:
        """A request of a few different rows, as clients send them; called once, after `load`.

        The model is tried out on it before its first request: how long it takes, and how many rows one call should
        have (`max_batch_size`). None: the first requests will tell.
        """
        return None

    def unload(self) -> Any:
        """Frees what `load` took; called once, after the last request."""
