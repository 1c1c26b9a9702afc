"""What became of a conversion: read by people over HTTP and in the service's status, and by the next start."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from colonnade.runtimes.compile import agreement

VERSION = "1"  # of the conversion and its checks; a new one makes what older ones left on disk worthless


class Guard(StrEnum):
    """Rows that a graph leaves to the original, because the two treat them differently."""

    NONE = "none"
    INFINITE = "infinite"
    ODD = "missing, infinite or over 1e12"


class Coverage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How one datatype is served by a graph.

    Attributes:
        graph: its name, which is that of the type that it computes in.
        output: the graph's output that holds the answer.
        rows: rows on which graph and original were compared.
        largest_difference: between numbers, as a share of the largest.
        dtype: numpy's name of the answer's type.
        trailing: the answer's shape behind its first axis.
        column: of the output, if the answer is one of its columns.
        guard: what goes to the original all the same.
    """

    graph: str
    output: str
    rows: int
    largest_difference: float
    dtype: str
    trailing: tuple[int, ...] = ()
    column: int | None = None
    guard: Guard = Guard.NONE


class Tolerance(msgspec.Struct, frozen=True):
    """By how much numbers may differ; labels never."""

    relative: float = agreement.RELATIVE
    absolute: float = agreement.ABSOLUTE


class Timing(msgspec.Struct, frozen=True):
    """Microseconds of CPU of one call."""

    rows: int
    original: float
    compiled: float


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """What became of the conversion of one model.

    Attributes:
        compiled: a graph serves.
        reason: why none does, or what the graphs do not cover; "" if they cover all.
        model: what was converted: a class of a framework.
        platform: the original's, as its metadata has it.
        max_batch_size: the original's.
        versions: of everything that took part.
        width: features per row.
        operators: of the graphs, by graph.
        opsets: of the graphs, by domain.
        datatypes: what is covered.
        refused: datatypes that stay with the original, with the reason.
        golden: rows of `golden.json` that were compared.
        timings: before and after, for one row and for a batch.
        seconds: how long the conversion and its checks took.
    """

    compiled: bool
    reason: str = ""
    model: str = ""
    platform: str = ""
    max_batch_size: int = 0
    versions: dict[str, str] = {}
    width: int = 0
    operators: dict[str, list[str]] = {}
    opsets: dict[str, int] = {}
    datatypes: dict[str, Coverage] = {}
    refused: dict[str, str] = {}
    golden: int = 0
    tolerance: Tolerance = Tolerance()
    timings: list[Timing] = []
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.compiled:
            return f"not compiled: {self.reason}"
        one = self.timings[0]
        rows = sum(each.rows for each in self.datatypes.values())
        apart = max(each.largest_difference for each in self.datatypes.values())
        speed = f"{one.compiled:.0f} µs a call in place of {one.original:.0f}"
        covered = ", ".join(self.datatypes)
        more = f"; {self.reason}" if self.reason else ""
        return f"compiled to ONNX: {speed}; {covered}; {rows} rows agree, largest difference {apart:.1g}{more}"


def refusal(reason: str, versions: dict[str, str] | None = None) -> Report:
    """The report of a model that stays as it is."""
    return Report(compiled=False, reason=reason, versions=versions or {})
