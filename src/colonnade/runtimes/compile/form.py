"""A graph as it serves one datatype: from a matrix of rows to the answer that the original would give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from colonnade.runtimes.base import framework
from colonnade.runtimes.compile.report import Coverage, Guard

INPUT = "X"  # of every graph here

_BOUND = 1e24  # of a row's squared length: no number in it is over 1e12
_NUMPY: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(double)": np.dtype(np.float64)}


def session(graph: bytes | str, threads: int) -> Any:
    """An onnxruntime session of a graph or its file, as the replica runs it."""
    runtime = framework("onnxruntime", None, "onnxruntime")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return runtime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


def form(session: Any, coverage: Coverage) -> Callable[[np.ndarray], np.ndarray | None]:
    """The function that answers rows, a matrix of the right width, by a graph; None where the original has to.

    The bound on the squared length refuses missing, infinite and very large numbers in one call of half a microsecond;
    a comparison with NaN is False.
    """
    run = session.run
    wanted = [coverage.output]
    fed = _NUMPY[session.get_inputs()[0].type]
    dtype: np.dtype[Any] = np.dtype(coverage.dtype)
    trailing = tuple(coverage.trailing)
    column = coverage.column
    guard = coverage.guard
    vdot, isinf = np.vdot, np.isinf

    def answer(rows: np.ndarray) -> np.ndarray | None:
        if rows.dtype != fed:
            if guard is Guard.ODD and rows.dtype == np.float64 and not vdot(rows, rows) < _BOUND:
                return None  # before a cast that would overflow
            rows = rows.astype(fed)
        if guard is Guard.ODD:
            if not vdot(rows, rows) < _BOUND:
                return None
        elif guard is Guard.INFINITE and isinf(rows).any():
            return None
        result: np.ndarray = run(wanted, {INPUT: rows})[0]
        if column is not None:
            result = np.ascontiguousarray(result[:, column])
        if result.dtype != dtype:
            result = result.astype(dtype)
        if result.shape[1:] != trailing:
            result = result.reshape(len(rows), *trailing)
        return result

    return answer
