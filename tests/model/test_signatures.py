"""What hooks take, read off their annotations, resolved or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import numpy.typing as npt
import pytest

from colonnade.errors import LoadFailed
from colonnade.model.signatures import Form, read
from colonnade.wire.tensors import InferRequest

if TYPE_CHECKING:
    import pandas as pd


def typed(annotation: Any) -> Callable[..., Any]:
    def predict(x: Any) -> None: ...

    predict.__annotations__ = {"x": annotation}
    return predict


FORMS: list[tuple[Any, Form]] = [
    (np.ndarray, Form.ARRAY),
    (npt.NDArray[np.float32], Form.ARRAY),
    (np.ndarray | None, Form.ARRAY),
    (Optional[np.ndarray], Form.ARRAY),  # noqa: UP045
    (InferRequest, Form.REQUEST),
    (dict, Form.PAYLOAD),
    (dict[str, Any], Form.PAYLOAD),
    (dict | InferRequest, Form.PAYLOAD),
    (Union[dict, InferRequest], Form.PAYLOAD),  # noqa: UP007
    (np.ndarray | InferRequest, Form.PAYLOAD),
    (list[float], Form.PAYLOAD),
    (Any, Form.PAYLOAD),
    ("np.ndarray", Form.ARRAY),
    ("npt.NDArray[np.float32]", Form.ARRAY),
    ("pd.DataFrame", Form.FRAME),
    ("pandas.DataFrame", Form.FRAME),
    ("np.ndarray | pd.DataFrame", Form.TABLE),
    ("Union[np.ndarray, pd.DataFrame]", Form.TABLE),
    ("unknown.NDArray[np.float32] | missing.DataFrame", Form.PAYLOAD),
    ("list[pd.DataFrame]", Form.PAYLOAD),
    ("dict[str, np.ndarray]", Form.PAYLOAD),
    ("SomethingUnknown", Form.PAYLOAD),
]


@pytest.mark.parametrize(("annotation", "form"), FORMS, ids=lambda value: str(value))
def test_the_annotation_of_the_first_parameter_decides(annotation: Any, form: Form) -> None:
    assert read(typed(annotation), "predict").form is form


def test_a_real_pandas_annotation() -> None:
    pandas = pytest.importorskip("pandas")
    assert read(typed(pandas.DataFrame), "predict").form is Form.FRAME
    assert read(typed(np.ndarray | pandas.DataFrame), "predict").form is Form.TABLE


def test_an_annotation_that_cannot_be_resolved_is_read_as_text() -> None:
    def predict(table: np.ndarray | pd.DataFrame) -> pd.DataFrame: ...

    assert read(predict, "predict").form is Form.TABLE


def test_several_arrays_and_what_is_passed_by_name() -> None:
    async def predict(
        left: np.ndarray, right: np.ndarray, threshold: float = 0.5, headers: Any = None, response_headers: Any = None
    ) -> None: ...

    signature = read(predict, "predict")
    assert (signature.form, signature.names) == (Form.ARRAYS, ("left", "right"))
    assert (signature.headers, signature.response_headers, signature.is_async) == (True, True, True)


def test_keywords_of_any_name_take_headers() -> None:
    def predict(payload, **kwargs): ...

    signature = read(predict, "predict")
    assert (signature.form, signature.headers, signature.response_headers) == (Form.PAYLOAD, True, True)


def no_parameter() -> None: ...


def unfilled(x: np.ndarray, y: float) -> None: ...


def unfilled_payload(payload, other): ...


def generator(x: np.ndarray) -> Any:
    yield x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_parameter, "M.predict takes no payload; give it a parameter, such as `x: np.ndarray`"),
        (unfilled, "M.predict has a parameter y that nothing fills; annotate it as np.ndarray or give it a default"),
        (
            unfilled_payload,
            "M.predict has a parameter other that nothing fills; annotate it as np.ndarray or give it a default",
        ),
        (generator, "M.predict is a blocking generator; make it `async def`, or return the whole answer"),
    ],
)
def test_a_signature_that_cannot_be_served_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        read(function, "M.predict")
    assert caught.value.message == message
