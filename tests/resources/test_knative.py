"""The annotations of Knative's autoscaler: what is read, what is refused and in which words."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import Invalid
from colonnade.resources import durations, knative, validation
from colonnade.resources.defaulting import default

P = knative.PREFIX


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("300ms", 0.3), ("0", 0.0), ("-2s", -2.0), ("1h0m0s", 3600.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "1d", "1s2", "1..5s", ".s", "--1s", "1S", "٣s", "1m 5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        durations.parse(text)


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert math.isfinite(durations.parse(text))
    except ValueError:
        pass


REFUSED: list[tuple[str, str, str]] = [
    ("class", "x.autoscaling.knative.dev", "invalid value: x.autoscaling.knative.dev"),
    ("min-scale", "-1", "expected 0 <= -1 <= 2147483647"),
    ("min-scale", "one", "invalid value: one"),
    ("min-scale", "1_0", "invalid value: 1_0"),
    ("maxScale", "99999999999", "expected 0 <= 99999999999 <= 2147483647"),
    ("initial-scale", "-1", "expected 0 <= -1 <= 2147483647"),
    ("activation-scale", "0", "expected 1 <= 0 <= 2147483647"),
    ("target", "0", "target 0 should be at least 0.01"),
    ("target", "many", "invalid value: many"),
    ("target", "nan", "invalid value: nan"),
    ("target-utilization-percentage", "101", "expected 1 <= 101 <= 100"),
    ("target-burst-capacity", "-2", "invalid value: -2"),
    ("window", "5s", "expected 6s <= 5s <= 1h0m0s"),
    ("window", "2h", "expected 6s <= 2h <= 1h0m0s"),
    ("window", "60", "invalid value: 60"),
    ("window", "6500ms", "must be specified with at most second precision"),
    ("panic-window-percentage", "0", "expected 1 <= 0 <= 100"),
    ("panic-threshold-percentage", "100", "expected 110 <= 100 <= 1000"),
    ("scale-down-delay", "-1s", "expected 0s <= -1s <= 1h0m0s"),
    ("scaleToZeroPodRetentionPeriod", "61m", "expected 0s <= 61m <= 1h0m0s"),
    ("metric-aggregation-algorithm", "mean", "invalid value: mean"),
    ("metric", "cpu", "invalid value: cpu"),
]


@pytest.mark.parametrize(("name", "value", "text"), REFUSED, ids=[f"{name}={value}" for name, value, _ in REFUSED])
def test_what_knative_refuses_is_refused_in_its_words(iris: dict[str, Any], name: str, value: str, text: str) -> None:
    iris["metadata"]["annotations"] = {P + name: value}
    with pytest.raises(Invalid) as refused:
        validation.validate(default(iris))
    assert refused.value.causes == ((f"metadata.annotations[{P}{name}]", text),)


def test_annotations_of_a_component_are_held_to_the_same_rules(iris: dict[str, Any]) -> None:
    iris["spec"]["predictor"]["annotations"] = {f"{P}min-scale": "3", f"{P}max-scale": "2"}
    with pytest.raises(Invalid) as refused:
        validation.validate(default(iris))
    causes = refused.value.causes
    assert causes == ((f"spec.predictor.annotations[{P}max-scale]", "max-scale=2 is less than min-scale=3"),)


def test_good_values_are_read_and_the_present_spelling_wins() -> None:
    given = {
        f"{P}class": knative.HPA,
        f"{P}metric": "cpu",
        f"{P}minScale": "4",
        f"{P}min-scale": "2",
        f"{P}window": "1m",
        f"{P}target": "0.5",
        f"{P}something-else": "x",
        "team": "a",
    }
    assert knative.read(given) == {"class": knative.HPA, "metric": "cpu", "min-scale": 2, "window": 60.0, "target": 0.5}
    assert list(knative.failures("a", given)) == []


@given(st.sampled_from(knative.ANNOTATIONS), st.text(max_size=20))
def test_any_value_is_read_or_refused(annotation: knative.Annotation, text: str) -> None:
    try:
        value = annotation.read(text)
    except knative.Refused:
        return
    assert isinstance(value, str) or math.isfinite(value)
