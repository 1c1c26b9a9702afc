"""Metrics: counting, and the text form as another project's parser reads it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.observe import Registry
from colonnade.observe.metrics import summed


def test_text_form() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", "Requests\nby \\ code.", ("code", "model"))
    requests.labels("200", 'a"b\\c\nd').inc()
    requests.labels("200", 'a"b\\c\nd').inc(2)
    registry.gauge("live", "In flight.").set(1.5)
    seconds = registry.histogram("seconds", "Time.", ("model",), buckets=(0.1, 1))
    for value in (0.05, 0.1, 0.5, 7):
        seconds.labels("m").observe(value)
    assert registry.render().decode() == (
        "# HELP requests_total Requests\\nby \\\\ code.\n"
        "# TYPE requests_total counter\n"
        'requests_total{code="200",model="a\\"b\\\\c\\nd"} 3\n'
        "# HELP live In flight.\n"
        "# TYPE live gauge\n"
        "live 1.5\n"
        "# HELP seconds Time.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{model="m",le="0.1"} 2\n'
        'seconds_bucket{model="m",le="1"} 3\n'
        'seconds_bucket{model="m",le="+Inf"} 4\n'
        'seconds_sum{model="m"} 7.65\n'
        'seconds_count{model="m"} 4\n'
    )


def test_children_are_kept() -> None:
    counter = Registry().counter("a_total", "A.", ("x", "y"))
    child = counter.labels("1", "2")
    assert counter.labels("1", "2") is child
    assert counter.labels("2", "1") is not child
    with pytest.raises(ValueError, match="a_total"):
        counter.labels("1")


def test_removed_children_are_not_rendered() -> None:
    registry = Registry()
    counter = registry.counter("a_total", "A.", ("model", "code"))
    for model in ("m", "n"):
        for code in ("200", "500"):
            counter.labels(model, code).inc()
    counter.remove("m")
    text = registry.render()
    assert b'model="m"' not in text
    assert text.count(b'model="n"') == 2


def test_metrics_without_labels() -> None:
    registry = Registry()
    registry.counter("a_total", "A.")
    gauge = registry.gauge("b", "B.")
    gauge.inc(3)
    gauge.dec()
    registry.histogram("c", "C.").observe(0.0)
    registry.gauge("d", "D.").follow(lambda: math.nan)
    text = registry.render().decode()
    assert "\na_total 0\n" in text
    assert "\nb 2\n" in text
    assert '\nc_bucket{le="0.0005"} 1\n' in text
    assert text.endswith("\nd NaN\n")


@pytest.mark.parametrize(
    ("name", "labels"), [("1a", ()), ("a-b", ()), ("", ()), ("a", ("x-y",)), ("a", ("__x",)), ("a", ("",))]
)
def test_bad_names_are_refused(name: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Registry().counter(name, "A.", labels)


def test_other_mistakes_are_refused() -> None:
    registry = Registry()
    registry.counter("a_total", "A.")
    with pytest.raises(ValueError, match="taken"):
        registry.gauge("a_total", "A.")
    with pytest.raises(ValueError, match="le"):
        registry.histogram("b", "B.", ("le",))
    for buckets in ((), (1, 1), (2, 1), (math.inf,)):
        with pytest.raises(ValueError, match="rise"):
            registry.histogram("c", "C.", buckets=buckets)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)))
def test_histograms_count_every_value_once(values: list[float]) -> None:
    registry = Registry()
    histogram = registry.histogram("h", "H.", buckets=(0.001, 1, 1000))
    for value in values:
        histogram.observe(value)
    child = histogram.labels()
    assert child.count == len(values)
    assert child.counts[0] == sum(value <= 0.001 for value in values)
    assert child.counts[-1] == sum(value > 1000 for value in values)


@given(st.text())
def test_any_label_value_stays_on_one_line(value: str) -> None:
    registry = Registry()
    registry.counter("a_total", "A.", ("x",)).labels(value).inc()
    lines = registry.render().decode("utf-8", "surrogatepass").split("\n")
    assert len(lines) == 4
    quoted = lines[2].removeprefix('a_total{x="').removesuffix('"} 1')
    restored = quoted.replace("\\\\", "\0\0").replace('\\"', '"').replace("\\n", "\n").replace("\0\0", "\\")
    assert restored == value or "\0" in value


def test_renderings_of_several_processes_are_summed() -> None:
    texts = []
    for number in (1, 2):
        registry = Registry()
        requests = registry.counter("requests_total", "Requests.", ("code",))
        requests.labels("200").inc(number)
        requests.labels(f"50{number} x").inc(0.5)
        registry.histogram("seconds", "Time.", buckets=(1.0,)).observe(float(number))
        texts.append(registry.render())
    assert summed(texts).decode().splitlines() == [
        "# HELP requests_total Requests.",
        "# TYPE requests_total counter",
        'requests_total{code="200"} 3',
        'requests_total{code="501 x"} 0.5',
        'requests_total{code="502 x"} 0.5',
        "# HELP seconds Time.",
        "# TYPE seconds histogram",
        'seconds_bucket{le="1"} 1',
        'seconds_bucket{le="+Inf"} 2',
        "seconds_sum 3",
        "seconds_count 2",
    ]
    assert summed(texts[:1]) == texts[0]
