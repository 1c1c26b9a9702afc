"""A new revision is judged by what it answers, on the running product: stepped up, or rolled back."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .product import Product, until
from .steady import Steady
from .versions import Versions

ANALYSIS = {
    "colonnade.dev/analysis": json.dumps({"steps": [20, 50], "interval": 1.5, "minRequests": 30, "quantile": 0.5})
}


def test_a_good_revision_is_stepped_up_to_all(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "good", tmp_path)
    service.apply(service.predictor("one", env__TAKES=0.005), ANALYSIS)
    with Steady(service.url, 100) as load:
        service.apply(service.predictor("two", env__TAKES=0.005), ANALYSIS, wait=False)
        service.settled({"00002": 100})
        product.colonnade("rollout", "status", "good")
    assert load.failed == {}
    steps = sorted(service.events("RolloutStep"))
    assert ["from 20 % to 50 %" in steps[0], "from 50 % to 100 %" in steps[1]] == [True, True]
    assert all("errors 0.00% of" in step for step in steps)


def test_a_revision_that_fails_a_fifth_is_rolled_back(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "bad", tmp_path)
    service.apply(service.predictor("one"), ANALYSIS)
    with Steady(service.url, 150) as load:
        service.apply(service.predictor("two", env__FAILS=0.2), ANALYSIS, wait=False)
        until(lambda: service.condition().get("reason") == "RevisionRejected", "it is rolled back")
        until(lambda: service.shares.get("00001") == 100, "the first one has all the traffic")
        failed, answered = load.failed.total(), load.answered
        until(lambda: load.answered > answered + 200, "the service keeps answering")
        assert load.failed.total() - failed <= 4  # those that were on their way
    assert load.failed.total() < load.answered / 10
    (told,) = service.events("RolloutRolledBack")
    numbers = r"errors (\d+\.\d+)% of \d+ against 0\.00% of \d+, p50 .* ms against .* ms"
    found = re.search(f"bad-predictor-00002 was rolled back at 20 %: too many errors: {numbers}", told)
    assert found is not None, told
    assert float(found[1]) > 1
    assert "keeps serving" in service.condition()["message"]
    assert "rolled back" in product.colonnade("rollout", "history", "bad")
    until(lambda: all("00001" in pod for pod in service.pods), "its replica is gone")

    service.apply(service.predictor("three"), {})  # another one is welcome
    assert service.ask(20) == {"three": 20}


def test_a_revision_that_is_slow_is_rolled_back(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "slow", tmp_path)
    service.apply(service.predictor("one", env__TAKES=0.005), ANALYSIS)
    with Steady(service.url, 100) as load:
        service.apply(service.predictor("two", env__TAKES=0.06), ANALYSIS, wait=False)
        until(lambda: service.condition().get("reason") == "RevisionRejected", "it is rolled back")
    assert load.failed == {}
    assert "too slow" in service.events("RolloutRolledBack")[0]
    product.colonnade("rollout", "promote", "slow")  # whatever the analysis said
    service.settled({"00002": 100})


def test_a_revision_that_hangs_is_rolled_back_before_its_callers_give_up(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "hangs", tmp_path)
    service.apply(service.predictor("one", env__TAKES=0.005), ANALYSIS)
    with Steady(service.url, 100) as load:  # of fewer callers than a verdict needs answers
        service.apply(service.predictor("two", env__TAKES=900), ANALYSIS, wait=False)
        until(lambda: service.condition().get("reason") == "RevisionRejected", "it is rolled back")
        until(lambda: service.shares.get("00001") == 100, "the first one has all the traffic")
        answered = load.answered
        until(lambda: load.answered > answered + 100, "the service keeps answering")
    (told,) = service.events("RolloutRolledBack")
    assert re.search(r"\d+ of \d+ requests hang, without an answer for more than 10 s", told), told
    assert set(load.answers) == {"one"}
