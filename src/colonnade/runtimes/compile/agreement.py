"""When two answers are the same: the one place where the tolerance stands.

Labels are equal or they are wrong. Numbers may differ by rounding: a graph sums in another order than the framework,
and some graphs sum in float32.
"""

from __future__ import annotations

import numpy as np

RELATIVE = 1e-5
ABSOLUTE = 1e-6  # times the magnitude of the answers


class Disagreement(Exception):
    """A graph and the original do not answer alike; the message names a row and both answers."""


def magnitude(answers: np.ndarray) -> float:
    """The largest finite number among answers; 0 for labels."""
    if answers.dtype.kind != "f":
        return 0.0
    return float(np.max(np.abs(answers[np.isfinite(answers)]), initial=0.0))


def difference(expected: np.ndarray, answer: np.ndarray, usual: float = 0.0) -> float:
    """The largest difference between numbers, as a share of the largest; 0 for labels.

    Args:
        usual: the magnitude of other answers of the model, where `expected` are too few to tell.

    Raises:
        Disagreement: type or shape differ, a label differs, or a number differs by more than the tolerance.
    """
    if (expected.dtype, expected.shape) != (answer.dtype, answer.shape):
        raise Disagreement(
            f"the original answers {expected.dtype} {list(expected.shape)}, the graph {answer.dtype} "
            f"{list(answer.shape)}"
        )
    if expected.dtype.kind != "f":
        _refuse(expected, answer, expected == answer)
        return 0.0
    finite = np.isfinite(expected)
    scale = max(magnitude(expected), usual)
    gap = np.abs(expected.astype(np.float64) - answer)
    alike = expected == answer  # infinities too
    alike |= np.isnan(expected) & np.isnan(answer)
    alike |= finite & (gap <= ABSOLUTE * scale + RELATIVE * np.abs(expected))
    _refuse(expected, answer, alike)
    return float(np.max(gap[finite], initial=0.0)) / scale if scale else 0.0


def _refuse(expected: np.ndarray, answer: np.ndarray, alike: np.ndarray) -> None:
    if bool(alike.all()):
        return
    at = int(np.argmin(alike))  # of the flat array: the first that differs
    differing = int(alike.size - np.count_nonzero(alike))
    raise Disagreement(
        f"{differing} of {alike.size} values differ, the first where the original answers {expected.ravel()[at]!s} "
        f"and the graph {answer.ravel()[at]!s}"
    )
