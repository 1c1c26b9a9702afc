"""When a new revision goes on, waits, or goes back: a table. And how its settings are read."""

from __future__ import annotations

import pytest

from colonnade.control.rollouts.analysis import Counts, Settings, judge, settings
from colonnade.defaults import ANALYSIS
from colonnade.errors import InvalidInput
from colonnade.observe.latency import BOUNDS, bucket


def counts(answers: int, errors: int = 0, latency: float = 0.01, late: tuple[int, float] | None = None) -> Counts:
    """`late`: how many requests are under way, and for how long."""
    latencies, waiting = [0] * len(BOUNDS), [0] * len(BOUNDS)
    latencies[bucket(latency)] = answers
    if late is not None:
        waiting[bucket(late[1])] = late[0]
    return Counts(answers, errors, tuple(latencies), () if late is None else tuple(waiting))


@pytest.mark.parametrize(
    ("stable", "fresh", "verdict", "words"),
    [
        pytest.param(counts(1000), counts(100), "step", "errors 0.00% of 100 against 0.00% of 1000", id="as good"),
        pytest.param(counts(1000), counts(10), "hold", "10 of 50 answers", id="too few answers"),
        pytest.param(counts(1000), counts(0), "hold", "0 of 50 answers", id="none at all"),
        pytest.param(counts(1000), counts(100, 20), "rollback", "too many errors: errors 20.00%", id="errors"),
        pytest.param(counts(1000), counts(20, 20), "rollback", "too many errors", id="all fail: no need to wait"),
        pytest.param(counts(1000), counts(100, 1), "step", "", id="within what is allowed"),
        pytest.param(counts(1000), counts(50, 1), "step", "", id="above it, but that may be chance"),
        pytest.param(counts(1000, 200), counts(100, 20), "step", "", id="both are as bad"),
        pytest.param(counts(100, 100), counts(100, 100), "step", "", id="both fail always"),
        pytest.param(counts(0), counts(100, 5), "step", "", id="few errors, and nothing to compare with"),
        pytest.param(counts(0), counts(100, 9), "rollback", "", id="many errors, and nothing to compare with"),
        pytest.param(counts(1000), counts(100, 0, 0.05), "rollback", "too slow", id="slow"),
        pytest.param(counts(1000, 0, 0.001), counts(100, 0, 0.004), "step", "", id="a few milliseconds are nothing"),
        pytest.param(counts(10), counts(100, 0, 0.05), "step", "", id="slow, but too little to compare with"),
        pytest.param(counts(1000), counts(0, late=(3, 19.0)), "rollback", "3 of 3 requests hang", id="all hang"),
        pytest.param(counts(1000), counts(90, late=(3, 19.0)), "rollback", "3 of 93 requests hang", id="some hang"),
        pytest.param(counts(1000), counts(0, late=(2, 19.0)), "hold", "2 of 50", id="two may be chance"),
        pytest.param(counts(1000), counts(0, late=(30, 3.0)), "hold", "30 of 50", id="its first ones take long"),
        pytest.param(counts(1000), counts(45, late=(10, 3.0)), "rollback", "too slow", id="slow before they answer"),
        pytest.param(counts(1000), counts(98, late=(2, 3.0)), "step", "", id="fewer are slow than the quantile"),
        pytest.param(
            counts(100, late=(100, 60.0)), counts(50, late=(50, 19.0)), "step", "", id="both hang, or have long streams"
        ),
        pytest.param(counts(100, 0, 20.0), counts(60, 0, 20.0, (20, 25.0)), "step", "", id="both take their time"),
        pytest.param(counts(0), counts(0, late=(40, 60.0)), "hold", "", id="hangs, and nothing to compare with"),
    ],
)
def test_verdicts(stable: Counts, fresh: Counts, verdict: str, words: str) -> None:
    found = judge(stable, fresh, Settings())
    assert found.verdict == verdict, found.numbers
    assert words in found.numbers


def test_only_what_came_since_a_step_counts() -> None:
    before, now = counts(100, 50), counts(300, 50)
    assert now.since(before) == counts(200)
    assert now.since(Counts()) == now
    waiting = counts(300, 50, late=(5, 19.0))
    assert waiting.since(counts(100, 50, late=(7, 19.0))) == counts(200, late=(5, 19.0)), "what is under way, is so now"


@pytest.mark.parametrize("text", ["auto", "true", "{}"])
def test_defaults(text: str) -> None:
    assert settings({ANALYSIS: text}) == Settings()


def test_settings_are_read() -> None:
    assert settings({}) is None
    assert settings({ANALYSIS: "false"}) is None
    assert settings({ANALYSIS: '{"steps": [1, 50], "interval": 5, "maxLatencyRatio": 2}'}) == Settings(
        steps=(1, 50), interval=5, max_latency_ratio=2
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yes", "must be `auto` or JSON"),
        ('{"stepps": [1]}', "stepps"),
        ('{"steps": []}', "steps"),
        ('{"steps": [0]}', "steps"),
        ('{"steps": [30, 10]}', "steps must rise"),
        ('{"interval": 0}', "interval"),
        ('{"maxLatencyRatio": 0.5}', "maxLatencyRatio"),
    ],
)
def test_a_bad_setting_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        settings({ANALYSIS: text})
