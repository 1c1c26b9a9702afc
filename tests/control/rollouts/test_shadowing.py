"""Which revision is a service's shadow."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.rollouts import shadowing
from colonnade.control.rollouts.shadowing import Result, Wanted, wanted
from colonnade.control.rollouts.traffic import Traffic
from colonnade.defaults import SHADOW
from colonnade.errors import InvalidInput
from colonnade.gateway.routes import Shadow

from ..kserve_objects import isvc

ONE, TWO, BLUE = "iris-predictor-00001", "iris-predictor-00002", "iris-blue-predictor-00003"


def service(annotation: str, **percents: int) -> dict[str, Any]:
    """A service with that shadow, and the shares of its revisions."""
    found = isvc(annotations={SHADOW: annotation})
    names = {"one": ONE, "two": TWO, "blue": BLUE}
    traffic = [{"revisionName": names[name], "percent": percent} for name, percent in percents.items()]
    found["status"] = {"components": {"predictor": {"traffic": traffic, "latestCreatedRevision": TWO}}}
    return found


@pytest.mark.parametrize(
    ("annotation", "shares", "found"),
    [
        ("blue", {"one": 100, "blue": 0}, Shadow(BLUE, 100.0)),
        ("blue=12.5", {"one": 100, "blue": 0}, Shadow(BLUE, 12.5)),
        ("latest=50", {"one": 100, "two": 0}, Shadow(TWO, 50.0)),
        ("latest", {"one": 90, "two": 10}, Shadow(TWO, 100.0)),
        (ONE, {"two": 100, "one": 0}, Shadow(ONE, 100.0)),
        ("latest", {"two": 100}, None),
        ("blue", {"one": 100}, None),
        ("green", {"one": 100, "blue": 0}, None),
        ("", {"one": 100, "blue": 0}, None),
        ("blue=0", {"one": 100, "blue": 0}, None),
    ],
    ids=[
        "variant",
        "a part",
        "the canary",
        "it has a share",
        "by its name",
        "it has all",
        "it does not run",
        "nobody",
        "no shadow",
        "refused",
    ],
)
def test_who_is_the_shadow(annotation: str, shares: dict[str, int], found: Shadow | None) -> None:
    assert shadowing.of(service(annotation, **shares)) == found


@pytest.mark.parametrize("text", ["=50", "blue=", "blue=0", "blue=101", "blue=half", "blue=nan", "blue=-1"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"colonnade\.dev/shadow must be NAME or NAME=PERCENT"):
        wanted({SHADOW: text})


def test_what_is_read() -> None:
    assert wanted({}) is None
    assert wanted({SHADOW: "blue=0.5"}) == Wanted("blue", 0.5)


def test_a_result_is_kept_in_the_status() -> None:
    noted = {shadowing.RECORD: shadowing.record(Shadow(BLUE, 25.0), {"equal": 3})}
    assert shadowing.recorded(noted) == Result(BLUE, 25.0, {"equal": 3})
    assert shadowing.recorded({}) is None
    assert shadowing.recorded({shadowing.RECORD: "nonsense"}) is None


def test_outcomes_are_summed_over_processes_that_live_and_that_ended() -> None:
    traffic = Traffic()

    def told(worker: int, epoch: float, **outcomes: int) -> None:
        traffic.observe(worker, {"namespace": "ns", "revision": BLUE, "epoch": epoch, "shadow": outcomes})

    told(0, 1.0, equal=5)
    told(1, 1.0, equal=2, different=1)
    told(0, 1.0, equal=7)
    told(0, 2.0, equal=1)
    assert traffic.shadow("ns", BLUE) == {"equal": 10, "different": 1}
    traffic.keep({("ns", ONE)})
    assert traffic.shadow("ns", BLUE) == {}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("ghost=10", "nothing runs under the name 'ghost', so no request is copied; name one of latest, blue, "),
        ("latest", ""),
        ("blue", ""),
        (ONE, ""),
        ("", ""),
        ("ghost=0", ""),
    ],
    ids=["nobody", "the newest", "a variant, also while it starts", "by its name", "no shadow", "refused"],
)
def test_a_name_that_nothing_has_is_told(annotation: str, words: str) -> None:
    found = service(annotation, one=100)
    found["spec"]["canary"] = [{"predictor": {"name": "blue"}, "trafficPercent": 0}]
    missing = shadowing.missing(found, {ONE})
    assert (words in missing) if words else not missing
