"""FP32 in JSON: shortest decimals, exactly the same value back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.wire.float32 import shortest

BITS = st.integers(0, 2**32 - 1)


def from_bits(bits: list[int]) -> np.ndarray:
    return np.array(bits, dtype=np.uint32).view(np.float32)


@settings(max_examples=200)
@given(st.lists(BITS, min_size=1, max_size=8), st.sampled_from([1, 64]))
def test_every_fp32_prints_as_its_shortest_decimal(bits: list[int], repeats: int) -> None:
    values = np.tile(from_bits(bits), repeats)  # repeated, the whole-array arithmetic is taken
    doubles = shortest(values)
    np.testing.assert_array_equal(np.array(doubles).astype(np.float32), values)
    assert [repr(double) for double in doubles] == [repr(float(str(value))) for value in values]


def test_a_broad_sample_of_all_magnitudes_agrees_with_the_text_form() -> None:
    values = from_bits(np.random.default_rng(7).integers(0, 2**32, 20_000).tolist())
    values = values[~np.isnan(values)]
    assert shortest(values) == [float(str(value)) for value in values]


def test_familiar_values() -> None:
    values = np.tile(np.array([0.1, 1 / 3, 16777216, 3.4028235e38, 1e-45, -0.0, np.inf], dtype=np.float32), 20)
    expected = [0.1, 0.33333334, 16777216.0, 3.4028235e38, 1e-45, -0.0, float("inf")] * 20
    assert shortest(values) == expected
    assert shortest(values[:7]) == expected[:7]
