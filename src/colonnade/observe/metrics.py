"""Counters, gauges and histograms for the fast path: plain numbers, rendered on scrape.

A metric with labels keeps one child per combination; look a child up once (`labels`) and keep it where requests pass,
so that counting is one attribute and one addition. All of it belongs to the event loop's thread and takes no lock.

Text form: Prometheus exposition format 0.0.4.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Prometheus clients' customary bounds, with three finer ones below: a fast model answers in less than a millisecond.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*\Z")


class CounterChild:
    """A number that only rises, counted here or asked for on scrape."""

    __slots__ = ("_read", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self._read: Callable[[], float] | None = None

    def inc(self, by: float = 1) -> None:
        """Count `by` more, not negative."""
        self.value += by

    def follow(self, read: Callable[[], float]) -> None:
        """Ask `read` for the value at each scrape."""
        self._read = read

    def samples(self, name: str, labels: str) -> Iterable[str]:
        """Lines of the text form."""
        yield f"{name}{_braced(labels)} {_number(self.value if self._read is None else self._read())}"


class GaugeChild:
    """A number that rises and falls, or is asked for on scrape."""

    __slots__ = ("_read", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self._read: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        """Take the value."""
        self.value = value

    def inc(self, by: float = 1) -> None:
        """Add."""
        self.value += by

    def dec(self, by: float = 1) -> None:
        """Subtract."""
        self.value -= by

    def follow(self, read: Callable[[], float]) -> None:
        """Ask `read` for the value at each scrape."""
        self._read = read

    def samples(self, name: str, labels: str) -> Iterable[str]:
        """Lines of the text form."""
        yield f"{name}{_braced(labels)} {_number(self.value if self._read is None else self._read())}"


class HistogramChild:
    """Counts of observed values per bucket, and their sum."""

    __slots__ = ("_bounds", "_shown", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...], shown: frozenset[float] | None = None) -> None:
        """`shown`: those of the bounds that the text form has; None for all."""
        self._bounds = bounds
        self._shown = shown
        self.counts = [0] * (len(bounds) + 1)  # not cumulative; the last one is above all bounds
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that equals a bound lies below it (`le`)."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Values observed."""
        return sum(self.counts)

    def samples(self, name: str, labels: str) -> Iterable[str]:
        """Lines of the text form: cumulative buckets, sum, count."""
        lead = f"{labels}," if labels else ""
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self.counts, strict=True):
            total += count
            if self._shown is None or bound in self._shown or bound == math.inf:
                yield f'{name}_bucket{{{lead}le="{_number(bound)}"}} {total}'
        yield f"{name}_sum{_braced(labels)} {_number(self.sum)}"
        yield f"{name}_count{_braced(labels)} {total}"


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)


class Metric(Generic[Child]):
    """A name, a help text, and one child per combination of label values."""

    kind = ""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], make: Callable[[], Child]) -> None:
        if not _METRIC_NAME.match(name):
            raise ValueError(f"metric name {name!r}: letters, digits, '_' and ':', not starting with a digit")
        for label in labels:
            if not _LABEL_NAME.match(label) or (label == "le" and self.kind == "histogram"):
                raise ValueError(f"label {label!r} of metric {name!r} is not a label name that is free for use")
        self.name = name
        self.help_text = help_text
        self.label_names = tuple(labels)
        self._make: Callable[[], Child] = make
        self._children: dict[tuple[str, ...], Child] = {}
        if not labels:
            self._children[()] = make()

    def labels(self, *values: str) -> Child:
        """The child of these label values, in the order of the names; the same object each time.

        Raises:
            ValueError: not one value per label.
        """
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"metric {self.name!r} has labels {self.label_names}, not {len(values)} values")
            child = self._children[values] = self._make()
        return child

    def remove(self, *values: str) -> None:
        """Forget the children whose first label values are these, when what they count is gone."""
        for key in [key for key in self._children if key[: len(values)] == values]:
            del self._children[key]

    def lines(self) -> Iterable[str]:
        """Lines of the text form."""
        help_text = self.help_text.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {self.name} {help_text}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, child in list(self._children.items()):
            pairs = zip(self.label_names, values, strict=True)
            yield from child.samples(self.name, ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs))


class Counter(Metric[CounterChild]):
    """How often something happened."""

    kind = "counter"

    def inc(self, by: float = 1) -> None:
        """Count on the only child of a counter without labels."""
        self.labels().inc(by)


class Gauge(Metric[GaugeChild]):
    """How much of something there is."""

    kind = "gauge"

    def set(self, value: float) -> None:
        """Set the only child of a gauge without labels."""
        self.labels().set(value)

    def inc(self, by: float = 1) -> None:
        """Add to the only child of a gauge without labels."""
        self.labels().inc(by)

    def dec(self, by: float = 1) -> None:
        """Subtract from the only child of a gauge without labels."""
        self.labels().dec(by)

    def follow(self, read: Callable[[], float]) -> None:
        """Ask `read` at each scrape for the only child of a gauge without labels."""
        self.labels().follow(read)


class Histogram(Metric[HistogramChild]):
    """How values are distributed over fixed buckets."""

    kind = "histogram"

    def observe(self, value: float) -> None:
        """Observe on the only child of a histogram without labels."""
        self.labels().observe(value)


class Registry:
    """The metrics of one process, in the order in which they were made.

    Example:
        registry = Registry()
        requests = registry.counter("requests_total", "Requests by code.", ("code",))
        ok = requests.labels("200")     # kept where requests pass
        ok.inc()
        registry.render()               # the body for /metrics, of type CONTENT_TYPE
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Metric[CounterChild] | Metric[GaugeChild] | Metric[HistogramChild]] = {}

    def counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        """Make a counter; by convention its name ends in `_total`.

        Raises:
            ValueError: the name is taken or not a metric name.
        """
        metric = Counter(name, help_text, labels, CounterChild)
        self._add(metric)
        return metric

    def gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        """Make a gauge. Raises ValueError as `counter` does."""
        metric = Gauge(name, help_text, labels, GaugeChild)
        self._add(metric)
        return metric

    def histogram(
        self,
        name: str,
        help_text: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = SECONDS,
        shown: Collection[float] | None = None,
    ) -> Histogram:
        """Make a histogram with these upper bounds, rising; infinity is added. Raises ValueError as `counter` does.

        `shown`: those of the bounds that are told on scrape; the others are for whoever reads `HistogramChild.counts`.
        """
        bounds = tuple(float(bound) for bound in buckets if bound != math.inf)
        if not bounds or any(not low < high for low, high in pairwise(bounds)):
            raise ValueError(f"buckets of metric {name!r} must rise: {buckets}")
        told = None if shown is None else frozenset(shown)
        metric = Histogram(name, help_text, labels, lambda: HistogramChild(bounds, told))
        self._add(metric)
        return metric

    def render(self) -> bytes:
        """All metrics as Prometheus text."""
        return "".join(f"{line}\n" for metric in self._metrics.values() for line in metric.lines()).encode(
            errors="backslashreplace"
        )

    def _add(self, metric: Counter | Gauge | Histogram) -> None:
        if metric.name in self._metrics:
            raise ValueError(f"metric name {metric.name!r} is taken")
        self._metrics[metric.name] = metric


def summed(texts: Iterable[bytes]) -> bytes:
    """Several renderings of registries with the same metrics as one, each number the sum of theirs."""
    families: dict[str, list[str]] = {}  # the comments of each metric, in the order of their first appearance
    samples: dict[str, dict[str, float]] = {}
    for text in texts:
        family = ""
        for line in text.decode().splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                samples.setdefault(family, {})
                comments = families.setdefault(family, [])
            if line.startswith("#"):
                if line not in comments:
                    comments.append(line)
                continue
            series, _, value = line.rpartition(" ")
            found = samples[family]
            found[series] = found.get(series, 0.0) + float(value)
    lines: list[str] = []
    for family, comments in families.items():
        lines += comments
        lines += [f"{series} {_number(value)}" for series, value in samples[family].items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    if value == -math.inf:
        return "-Inf"
    if math.isnan(value):
        return "NaN"
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)
