"""What passes between a replica and the process of its model."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.server.crossing import Channel, Unsendable
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor


class Pair:
    """Both ends of a channel; what one sends, the other gets."""

    def __init__(self) -> None:
        self.here, self.there = map(Channel, socket.socketpair())

    def cross(self, value: Any) -> Any:
        """Sends a value from a thread, since a large one is not taken before it is read."""
        sending = threading.Thread(target=self.here.send, args=([value],))
        sending.start()
        (got,) = self.there.receive()
        sending.join()
        return got


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.here.close()
    made.there.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_values_of_json_and_bytes_come_as_they_went(pair: Pair, value: Any) -> None:
    np.testing.assert_equal(pair.cross(value), value)


@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">i4", "<u8", "<f2", "<f4", "<f8", "<c16", "<M8[s]", "<U3", "S5"])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3), (100_000,)])
def test_arrays_of_every_kind(pair: Pair, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape))).astype("u1").astype(dtype).reshape(shape)
    got = pair.cross({"a": [array]})["a"][0]
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert np.array_equal(got, array)


def test_views_scalars_and_objects(pair: Pair) -> None:
    array = np.arange(24.0).reshape(4, 6)
    for view in (array[::2, ::-1], array.T, np.broadcast_to(array[0], (3, 6))):
        assert np.array_equal(pair.cross(view), view)
    scalar = pair.cross(np.float32(2.5))
    assert type(scalar) is np.float32
    texts = np.array([[b"a", b""], [b"\xff", b"dd"]], object)
    assert pair.cross(texts).tolist() == texts.tolist()
    writable = pair.cross(array)
    writable += 1
    assert writable.flags.aligned


def test_requests_and_answers(pair: Pair) -> None:
    tensors = [Tensor.of("x", np.arange(6, dtype=np.float32).reshape(2, 3)), Tensor.of("t", np.array([b"a"], object))]
    request = InferRequest("m", tensors, "7", "1", {"a": 1}, [RequestedOutput("y", {"binary_data": True})])
    got = pair.cross(request)
    assert isinstance(got, InferRequest)
    assert (got.id, got.parameters, got.outputs) == ("7", {"a": 1}, request.outputs)
    for mine, theirs in zip(got.inputs, tensors, strict=True):
        assert (mine.name, mine.datatype, mine.shape) == (theirs.name, theirs.datatype, theirs.shape)
        assert mine.data.tolist() == theirs.data.tolist()
    answer = pair.cross(InferResponse("m", tensors, "8"))
    assert isinstance(answer, InferResponse)
    assert np.array_equal(answer.outputs[0].data, tensors[0].data)


def test_data_frames(pair: Pair) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "text": ["x", "y"]})
    pandas.testing.assert_frame_equal(pair.cross(frame), frame)
    assert pair.cross(pandas.Series([1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(object(), "a value of type object"), (2**70, "no form between processes"), ([{(1,): {2: object()}}], "object")],
)
def test_what_has_no_form_is_refused_before_a_byte_is_sent(pair: Pair, value: Any, text: str) -> None:
    with pytest.raises(Unsendable, match=text):
        pair.here.send([value])
    assert pair.cross("next") == "next"


def test_an_end_that_is_gone_is_told() -> None:
    pair = Pair()
    pair.here.close()
    with pytest.raises(EOFError):
        pair.there.receive()
