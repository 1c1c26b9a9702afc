"""The compiled model: graphs for the datatypes that were verified, the original for all else, loaded when it is asked.

To a caller it is the original: same platform, same names, types and shapes, same refusals. So a replica that finds its
graphs on disk starts without the framework, and needs it only for what the graphs do not cover: named columns, text,
datatypes that were refused, missing values where the graph reads them otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from colonnade.model.contract import Model
from colonnade.model.offloading import require_thread
from colonnade.runtimes import tables
from colonnade.runtimes.compile.form import form, session
from colonnade.runtimes.compile.report import Report
from colonnade.wire.tensors import DTYPES, InferRequest

if TYPE_CHECKING:
    import pandas


class CompiledModel(Model):
    """A model of a framework, answered by graphs where they agree with it."""

    inline = True
    lenient = True

    def __init__(
        self,
        name: str,
        report: Report,
        graphs: Mapping[str, bytes | str],
        original: Callable[[], Model],
        threads: int,
    ) -> None:
        """
        Args:
            report: of the conversion, which says what is covered.
            graphs: the graphs that the report names, or their files.
            original: loads the original; called at most once, on a worker thread.
            threads: that one call may use.
        """
        super().__init__(name)
        self.platform = report.platform
        self.max_batch_size = report.max_batch_size
        sessions = {graph: session(content, threads) for graph, content in graphs.items()}
        self._forms = {
            DTYPES[datatype]: form(sessions[coverage.graph], coverage)
            for datatype, coverage in report.datatypes.items()
        }
        self._width = report.width
        self._load = original
        self._original: Model | None = None
        self._loading = threading.Lock()
        if np.dtype(np.float64) in self._forms:
            self.inputs, self.outputs = tables.described(self, self._width)

    def predict(self, table: np.ndarray | pandas.DataFrame) -> Any:
        """The original's answer.

        Raises:
            InvalidInput: as the original.
            NotInline: the original has to answer, which may take long.
        """
        if type(table) is np.ndarray:
            answer = self._forms.get(table.dtype)
            if answer is not None:
                rows = tables.matrix(table, self._width)
                if len(rows) and (found := answer(rows)) is not None:
                    return found
        return self._by_original(table)

    def example(self) -> InferRequest:
        """Rows of numbers that a graph answers."""
        dtype = np.dtype(np.float32)
        return tables.example(self.name, self._width, dtype if dtype in self._forms else np.float64)

    def _by_original(self, table: np.ndarray | pandas.DataFrame) -> Any:
        require_thread()
        original = self._original
        if original is None:
            with self._loading:
                original = self._original = self._original or self._load()
        return original.predict(table)
