"""Holds graphs against the original and says, datatype by datatype, which of them may serve.

The graph that computes in float64 is preferred: it keeps what float64 inputs hold, and rounds like the frameworks. A
datatype that none answers alike stays with the original. So does a model that no graph answers faster.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np

from colonnade.errors import Error
from colonnade.model.contract import Model
from colonnade.runtimes.compile import inputs, originals
from colonnade.runtimes.compile.agreement import Disagreement, difference, magnitude
from colonnade.runtimes.compile.form import form, session
from colonnade.runtimes.compile.golden import Example
from colonnade.runtimes.compile.inputs import Domain
from colonnade.runtimes.compile.originals import Unconvertible
from colonnade.runtimes.compile.report import Coverage, Guard, Report, Timing, refusal
from colonnade.wire.tensors import DTYPES, datatype_of

_log = logging.getLogger(__name__)

_ALONE = 16  # rows of each kind that are asked one by one too, as most requests do
_BATCH = 64  # rows of a timed batch
_WORTH = ("FP64", "FP32")  # what clients send: a graph that covers neither is not worth its memory
_TIMED = 0.1  # CPU seconds of one timing
_MOST_CALLS = 20_000
_SLOWEST = 1.0  # share of the original's time that a graph may take


@dataclass(frozen=True)
class Candidate:
    """A graph that may serve, with one output.

    Attributes:
        name: the type that it computes in.
        output: its output.
        content: the graph.
        session: that runs it.
    """

    name: str
    output: str
    content: bytes
    session: Any


@dataclass(frozen=True)
class Reference:
    """The original's answers to rows of one datatype."""

    kind: str
    rows: np.ndarray
    answers: np.ndarray


@np.errstate(all="ignore")  # odd rows overflow, which is what they are for
def examine(model: Model, golden: Sequence[Example], threads: int) -> tuple[Report, dict[str, bytes]]:
    """The report, and the graphs that it names.

    Args:
        model: the original, loaded.
        golden: what the user says that it answers.
        threads: that one call may use when it serves.
    """
    try:
        return _examined(model, golden, threads)
    except (Unconvertible, Disagreement) as error:
        return refusal(str(error)), {}


def _examined(model: Model, golden: Sequence[Example], threads: int) -> tuple[Report, dict[str, bytes]]:
    kind, domain, makers = originals.converted(partial(originals.describe, model))
    _hold_against_golden(model, golden)
    candidates, failures = _candidates(makers, threads)
    if not candidates:
        raise Unconvertible("; ".join(failures))
    covered, refused = _cover(model, domain, golden, candidates)
    if not any(datatype in covered for datatype in _WORTH):
        raise Disagreement("; ".join(f"{datatype}: {refused[datatype]}" for datatype in _WORTH))
    timings = _timings(model, domain, covered, candidates)
    for each in timings:
        if each.compiled > _SLOWEST * each.original:
            why = f"{each.compiled:.0f} µs for {each.rows} rows, and the original takes {each.original:.0f}"
            raise Unconvertible(f"its graph is no faster: {why}")
    used = {(coverage.graph, coverage.output) for coverage in covered.values()}
    graphs = {each.name: each.content for each in candidates if (each.name, each.output) in used}
    report = Report(
        compiled=True,
        reason=f"{', '.join(refused)} stay with the original" if refused else "",
        model=kind,
        platform=model.platform,
        max_batch_size=model.max_batch_size,
        width=domain.width,
        operators={name: _operators(content) for name, content in graphs.items()},
        opsets={name: version for content in graphs.values() for name, version in _opsets(content)},
        datatypes=covered,
        refused=refused,
        golden=sum(len(example.rows) for example in golden),
        timings=timings,
    )
    return report, graphs


def _candidates(makers: originals.Candidates, threads: int) -> tuple[list[Candidate], list[str]]:
    """The graphs that can be made and run, and why the others cannot."""
    made: list[Candidate] = []
    failures: list[str] = []
    for name, maker in makers:
        try:
            for output, content in originals.converted(maker).items():
                running = originals.converted(partial(session, content, threads))
                made.append(Candidate(name, output, content, running))
        except Unconvertible as error:
            failures.append(f"{name}: {error}")
    return made, failures


def _cover(
    model: Model, domain: Domain, golden: Sequence[Example], candidates: Sequence[Candidate]
) -> tuple[dict[str, Coverage], dict[str, str]]:
    """How each datatype is covered, by as few graphs as can be; and why others are not."""
    found: dict[str, dict[str, Coverage]] = {}  # datatype -> graph -> how
    refused: dict[str, str] = {}
    for datatype, dtype in DTYPES.items():
        if dtype.kind not in "biuf" or datatype_of(np.empty(0, dtype)) != datatype:  # BF16 comes as FP32
            continue
        try:
            references = list(_references(model, domain, dtype, golden))
        except Disagreement as error:
            refused[datatype] = str(error)
            continue
        found[datatype], reason = _coverages(model, domain, references, candidates)
        if not found[datatype]:
            refused[datatype] = reason
    counts = Counter(name for coverages in found.values() for name in coverages)  # keeps the order of preference
    covered = {
        datatype: coverages[max(coverages, key=lambda name: counts[name])]
        for datatype, coverages in found.items()
        if coverages
    }
    return covered, refused


def _coverages(
    model: Model, domain: Domain, references: Sequence[Reference], candidates: Sequence[Candidate]
) -> tuple[dict[str, Coverage], str]:
    """The coverages of one datatype by graph, and why the last one that fails does not answer alike."""
    found: dict[str, Coverage] = {}
    reason = "there is no graph"
    for candidate in candidates:
        for column in (None, 1):
            if candidate.name in found:
                continue
            coverage = _coverage(candidate, column, references)
            try:
                found[candidate.name] = _verified(model, domain, candidate, coverage, references)
            except Disagreement as error:
                reason = str(error) if column is None else reason
            except Exception as error:  # the graph refuses the rows, or has no such column
                _log.debug("a graph cannot be run", exc_info=error)
    return found, reason


def _references(model: Model, domain: Domain, dtype: np.dtype, golden: Sequence[Example]) -> Iterator[Reference]:
    """The original's answers to all kinds of rows.

    Raises:
        Disagreement: it refuses the datatype, or does not answer with one array of one row for each.
    """
    kinds = [*inputs.generated(domain, dtype)]
    kinds += [("golden", example.rows.astype(dtype)) for example in golden if example.rows.dtype == dtype]
    labels = None
    for kind, rows in kinds:
        answers = _asked(model, rows)
        yield Reference(kind, rows, answers)
        labels = labels or _labels(answers)
    if labels and dtype.kind == "f":
        near = inputs.borders(lambda rows: _scalar(_asked(model, rows)), kinds[0][1])
        if len(near):
            yield Reference("borders", near, _asked(model, near))


def _asked(model: Model, rows: np.ndarray) -> np.ndarray:
    try:
        answers = model.predict(rows)
    except Error as error:
        raise Disagreement(f"the original refuses such rows: {error.message}") from error
    if not isinstance(answers, np.ndarray) or answers.shape[:1] != rows.shape[:1]:
        raise Disagreement("the original does not answer with one array of one row for each")
    return answers


def _labels(answers: np.ndarray) -> bool:
    """Whether answers are labels: of no float type, or whole numbers all."""
    if answers.dtype.kind != "f":
        return True
    finite = answers[np.isfinite(answers)]
    return bool((finite == np.rint(finite)).all())


def _scalar(answers: np.ndarray) -> np.ndarray:
    return answers if answers.ndim == 1 else answers.reshape(len(answers), -1)[:, 0]


def _coverage(candidate: Candidate, column: int | None, references: Sequence[Reference]) -> Coverage:
    answers = references[0].answers
    rows = sum(len(reference.rows) for reference in references)
    return Coverage(candidate.name, candidate.output, rows, 0.0, answers.dtype.str, answers.shape[1:], column)


def _verified(
    model: Model, domain: Domain, candidate: Candidate, coverage: Coverage, references: Sequence[Reference]
) -> Coverage:
    """The coverage with its largest difference and the guard that it needs.

    Raises:
        Disagreement: it does not answer like the original.
    """
    coverage = msgspec.structs.replace(coverage, guard=_guard(model, domain, candidate, coverage, references[0]))
    answer = form(candidate.session, coverage)
    largest = 0.0
    for reference in references:
        largest = max(largest, _compared(answer, reference))
    return msgspec.structs.replace(coverage, largest_difference=largest)


def _compared(answer: Callable[[np.ndarray], np.ndarray | None], reference: Reference) -> float:
    rows, usual = reference.rows, magnitude(reference.answers)
    found = answer(rows)
    if found is None:
        raise Disagreement(f"rows of the kind {reference.kind!r} are too odd for the graph")
    try:
        largest = difference(reference.answers, found)
        for index in range(min(_ALONE, len(rows))):
            alone = answer(rows[index : index + 1])
            if alone is not None:
                difference(reference.answers[index : index + 1], alone, usual)
    except Disagreement as error:
        raise Disagreement(f"rows of the kind {reference.kind!r}: {error}") from None
    return largest


def _guard(model: Model, domain: Domain, candidate: Candidate, coverage: Coverage, usual: Reference) -> Guard:
    """The least that must go to the original, so that odd rows are answered or refused as it does.

    Raises:
        Disagreement: even what the strictest guard lets through is answered otherwise.
    """
    expected: list[tuple[np.ndarray, np.ndarray | None]] = []
    for rows in inputs.odd(domain, usual.rows.dtype):
        try:
            expected.append((rows, _asked(model, rows)))
        except Disagreement:
            expected.append((rows, None))
    reason: Disagreement | None = None
    for guard in Guard:
        answer = form(candidate.session, msgspec.structs.replace(coverage, guard=guard))
        try:
            for rows, wanted in expected:
                found = answer(rows)
                if found is not None:
                    _refuse_odd(wanted, found, magnitude(usual.answers))
            return guard
        except Disagreement as error:
            reason = error
    raise reason or Disagreement("no guard is known")


def _refuse_odd(wanted: np.ndarray | None, found: np.ndarray, usual: float) -> None:
    if wanted is None:
        raise Disagreement("the graph answers a row that the original refuses")
    difference(wanted, found, usual)


def _hold_against_golden(model: Model, golden: Sequence[Example]) -> None:
    """Checks the original itself.

    Raises:
        Disagreement: it does not answer as the user says.
    """
    for number, example in enumerate(golden):
        if example.answers is None:
            continue
        answers = _asked(model, example.rows)
        if answers.dtype.kind in "UO":
            answers = np.array([str(each).encode() for each in answers.ravel()], dtype=object).reshape(answers.shape)
        try:
            difference(answers, example.answers.reshape(answers.shape).astype(answers.dtype))
        except (Disagreement, ValueError) as error:
            raise Disagreement(f"golden.json, entry {number}: the model itself answers otherwise: {error}") from None


def _timings(
    model: Model, domain: Domain, covered: dict[str, Coverage], candidates: Sequence[Candidate]
) -> list[Timing]:
    datatype, coverage = next(((each, covered[each]) for each in ("FP32", "FP64") if each in covered), None) or next(
        iter(covered.items())
    )
    chosen = next(each for each in candidates if (each.name, each.output) == (coverage.graph, coverage.output))
    answer = form(chosen.session, coverage)
    rows = next(inputs.generated(domain, DTYPES[datatype]))[1]
    made = []
    for count in (1, _BATCH):
        before = _microseconds(partial(model.predict, rows[:count]))
        made.append(Timing(count, before, _microseconds(partial(answer, rows[:count]))))
    return made


def _microseconds(call: Callable[[], Any]) -> float:
    """CPU time of a call, in the mean over a while: the clock may tick in steps of milliseconds."""
    call()
    start = time.process_time()
    seconds, calls = 0.0, 0
    while seconds < _TIMED and calls < _MOST_CALLS:
        call()
        calls += 1
        seconds = time.process_time() - start
    return round(seconds / calls * 1e6, 1)


def _operators(content: bytes) -> list[str]:
    import onnx

    return sorted({node.op_type for node in onnx.load_from_string(content).graph.node})


def _opsets(content: bytes) -> Iterator[tuple[str, int]]:
    import onnx

    for each in onnx.load_from_string(content).opset_import:
        yield each.domain or "ai.onnx", each.version
