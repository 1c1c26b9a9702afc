"""FP32 values as the shortest decimals that read back as the same FP32.

JSON has one kind of number, and an encoder that knows only doubles writes the FP32 nearest to 0.1 as
0.10000000149011612. It is correct, twice as long, and not what the model's author typed. So each value is replaced by
the double nearest to its shortest decimal (6 to 9 significant digits are always enough for FP32; IEEE 754-2008,
section 5.12.2), which any shortest-double encoder then prints with those digits.
"""

from __future__ import annotations

import numpy as np

_FEW = 48  # below this, numpy's own shortest text per value is quicker than whole-array arithmetic
_LOWEST, _HIGHEST = 8 - 22, 5 + 22  # magnitudes whose scales are exact: a double holds powers of ten up to 10**22


def shortest(values: np.ndarray) -> list[float]:
    """Doubles that print as the shortest decimals of FP32 `values`, flat in row-major order; NaN, infinities stay."""
    flat = values.ravel()
    return list(map(float, map(str, flat))) if flat.size < _FEW else _by_arithmetic(flat).tolist()


def _by_arithmetic(flat: np.ndarray) -> np.ndarray:
    exact = flat.astype(np.float64)
    result = exact.copy()
    with np.errstate(all="ignore"):
        magnitude = np.floor(np.log10(np.abs(exact)))
        final = ~np.isfinite(magnitude)  # zero, NaN and infinities
        rare = ~final & ((magnitude < _LOWEST) | (magnitude > _HIGHEST))
        open_ = ~(final | rare)
        for digits in (6, 7, 8, 9):
            power = digits - 1 - magnitude
            scale = 10.0 ** np.abs(power)
            candidate = np.where(power >= 0, np.rint(exact * scale) / scale, np.rint(exact / scale) * scale)
            found = open_ & (candidate.astype(np.float32) == flat)
            result[found] = candidate[found]
            open_ &= ~found
    left = open_ | rare
    if left.any():
        result[left] = [float(str(value)) for value in flat[left]]
    return result
