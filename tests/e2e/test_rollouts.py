"""Rollouts on the running product: both dialects, tags, sticky callers, durations, and the commands that steer them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from .product import Product, until
from .steady import Steady
from .versions import Versions

TAGS = {"serving.kserve.io/enable-tag-routing": "true", "serving.kserve.io/deploymentMode": "Knative"}


def test_a_canary_is_split_pinned_rolled_back_and_promoted(product: Product, tmp_path: Path) -> None:
    """Knative's dialect: `canaryTrafficPercent` and the revision that was rolled out last."""
    service = Versions(product, "canary", tmp_path)
    service.apply(service.predictor("one"))
    service.apply(service.predictor("two", canaryTrafficPercent=10))
    assert service.shares == {"00001": 90, "00002": 10}
    assert service.ask(1000) == {"one": 900, "two": 100}
    shown = product.colonnade("rollout", "status", "canary")
    assert re.search(r"canary-predictor-00002\s+10\s", shown)

    service.apply(service.predictor("two", canaryTrafficPercent=0))  # rolled back, and kept at hand
    assert service.ask(50) == {"one": 50}
    service.apply(service.predictor("three", canaryTrafficPercent=25))  # the pinned one is still the first
    assert service.shares == {"00001": 75, "00003": 25}
    assert service.ask(100) == {"one": 75, "three": 25}

    product.colonnade("rollout", "promote", "canary")
    service.settled({"00003": 100})
    assert service.ask(50) == {"three": 50}
    component = service.component
    assert component["previousRolledoutRevision"] == "canary-predictor-00001"
    assert component["latestRolledoutRevision"] == "canary-predictor-00003"

    history = product.colonnade("rollout", "history", "canary").splitlines()
    assert [line.split()[0] for line in history[1:]] == ["1", "2", "3"]
    product.colonnade("rollout", "undo", "canary", "--to-revision", "1")
    until(lambda: service.ask(1) == {"one": 1}, "the first template serves again")
    product.colonnade("rollout", "status", "canary")  # waits, and says with 0 that it is over
    service.apply(service.predictor("four"))  # and a manifest may be applied as ever
    assert service.ask(20) == {"four": 20}


def test_kubectl_shows_the_shares(product: Product, kubectl: None, tmp_path: Path) -> None:
    service = Versions(product, "columns", tmp_path)
    service.apply(service.predictor("one"))
    service.apply(service.predictor("two", canaryTrafficPercent=30))
    heads, row = product.kubectl("get", "isvc", "columns").splitlines()
    assert heads.split()[:6] == ["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION"]
    assert row.split()[2:5] == ["True", "70", "30"]
    assert "columns-predictor-00002" in row


def test_variants_of_the_standard_dialect(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "variants", tmp_path)
    service.apply(service.predictor("stable"))
    blue = service.predictor("blue", name="blue")
    canary = [{"predictor": blue, "trafficPercent": 20}]
    service.apply(service.predictor("stable"), canary=canary)
    until(lambda: service.shares == {"00001": 80, "blue-00002": 20}, "the variant has its share")
    until(lambda: service.condition("CanaryPredictorReady").get("status") == "True", "the variant is ready")
    until(lambda: service.ask(10) == {"stable": 8, "blue": 2}, "the gateway knows")
    assert service.ask(1000) == {"stable": 800, "blue": 200}
    (told,) = service.object["status"]["canaryStatuses"]
    assert (told["name"], told["ready"], told["trafficPercent"]) == ("blue", True, 20)

    product.colonnade("rollout", "promote", "variants", "blue")
    until(lambda: service.ask(10) == {"blue": 10}, "the variant is the predictor")
    assert "canary" not in service.object["spec"]
    product.colonnade("rollout", "status", "variants")

    service.apply(service.predictor("stable"), canary=canary)
    until(lambda: service.ask(10)["blue"] == 2, "added again")
    service.apply(service.predictor("stable"))
    until(lambda: service.ask(10) == {"stable": 10}, "removed")


def test_tags_have_hosts_of_their_own(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "tags", tmp_path)
    service.apply(service.predictor("one"), TAGS)
    service.apply(service.predictor("two", canaryTrafficPercent=0), TAGS)
    hosts = {entry["tag"]: entry["url"].removeprefix("http://") for entry in service.component["traffic"]}
    assert hosts.keys() == {"latest", "prev"}
    path = "/v1/models/tags:predict"
    url = f"{product.http}{path}"
    latest, body = {"host": hosts["latest"]}, {"instances": [0]}
    until(lambda: httpx.post(url, json=body, headers=latest).is_success, "the gateway knows the one without a share")
    assert service.ask(20, {"host": hosts["latest"]}, path) == {"two": 20}
    assert service.ask(20, {"host": hosts["prev"]}, path) == {"one": 20}
    assert service.ask(20) == {"one": 20}


@pytest.mark.parametrize("sticky", ["header", "cookie"])
def test_a_caller_stays_with_its_revision(product: Product, tmp_path: Path, sticky: str) -> None:
    service = Versions(product, sticky, tmp_path)
    notes = {"colonnade.dev/sticky": f"{sticky}:caller"}
    service.apply(service.predictor("one"), notes)
    service.apply(service.predictor("two", canaryTrafficPercent=50), notes)
    seen = set()
    for caller in range(20):
        marks = {"caller": f"c{caller}"} if sticky == "header" else {}
        with httpx.Client(timeout=30, headers=marks) as client:  # which keeps cookies
            answers = {client.post(service.url, json={"instances": [0]}).json()["predictions"][0] for _ in range(5)}
        assert len(answers) == 1
        seen |= answers
    assert seen == {"one", "two"}


def test_traffic_moves_over_the_rollouts_duration(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "gradual", tmp_path)
    notes = {"serving.knative.dev/rollout-duration": "5s"}
    service.apply(service.predictor("one"), notes)
    service.apply(service.predictor("two"), notes, wait=False)
    seen: list[int] = []

    def moved() -> bool:
        seen.append(service.shares.get("00002", 0))
        return service.shares == {"00002": 100}

    until(moved, "all the traffic has moved")
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert service.ask(20) == {"two": 20}


def test_a_rollout_is_paused_and_goes_on(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "pause", tmp_path)
    service.apply(service.predictor("one"))
    product.colonnade("rollout", "pause", "pause")
    service.apply(service.predictor("two"), wait=False)
    until(lambda: service.shares == {"00001": 100, "00002": 0}, "the new revision is ready and waits")
    assert service.ask(20) == {"one": 20}
    assert "pause-predictor-00002" in product.colonnade("rollout", "status", "pause", "--no-watch", code=4)
    product.colonnade("rollout", "resume", "pause")
    service.settled({"00002": 100})
    assert service.ask(20) == {"two": 20}


def test_whoever_goes_back_waits_for_no_new_replicas(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "back", tmp_path)
    notes = {"serving.knative.dev/rollout-duration": "60s"}
    service.apply(service.predictor("one"), notes)
    before = service.pods
    service.apply(service.predictor("two"), notes, wait=False)
    until(lambda: service.shares.get("00002"), "the new revision has a share")
    product.colonnade("rollout", "undo", "back")
    service.settled({"00001": 100})
    assert service.ask(50) == {"one": 50}
    until(lambda: service.pods == before, "only the replicas of the first one are left")
    assert service.component["latestCreatedRevision"] == "back-predictor-00001"
    history = product.colonnade("rollout", "history", "back").splitlines()
    assert [line.split()[:2] for line in history[1:]] == [["2", "back-predictor-00002"], ["3", "back-predictor-00001"]]


def test_a_revision_that_dies_of_its_first_request_loses_the_traffic_again(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "dies", tmp_path)
    service.apply(service.predictor("one"))
    with Steady(service.url, 40, clients=4) as load:
        until(lambda: load.answered > 20, "the first version answers")
        service.apply(service.predictor("two", env__DIES=1), wait=False)
        until(lambda: service.shares == {"00001": 100, "00002": 0}, "the rollout is undone")
        answered = load.answered
        until(lambda: load.answered >= answered + 10, "the first version answers again")
        failed = load.failed.total()
        until(lambda: load.answered >= answered + 100, "it goes on to")
        assert load.failed.total() == failed, load.failed
    assert set(load.answers) == {"one"}
    assert len(service.events("RolloutRolledBack")) == 1
    assert "dies-predictor-00002 failed soon after it was ready" in service.condition()["message"]
    assert "dies-predictor-00001 keeps serving" in service.condition()["message"]
    service.apply(service.predictor("three"))
    assert service.ask(20) == {"three": 20}
