"""Shadow traffic on the running product: a revision is tried on real requests, and no caller notices."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from .product import Product, until
from .steady import Steady
from .versions import Versions


def shadowed(service: Versions, percent: int, **options: Any) -> None:
    """The first version with another one as its shadow."""
    canary = [{"predictor": service.predictor(name="blue", **options), "trafficPercent": 0}]
    notes = {"colonnade.dev/shadow": f"blue={percent}"}
    service.apply(service.predictor("one"), notes, canary=canary)
    until(lambda: len(service.shares) == 2 and set(service.shares.values()) == {100, 0}, "the shadow runs")
    until(lambda: service.condition("CanaryPredictorReady").get("status") == "True", "it is ready")


def result(service: Versions) -> dict[str, int]:
    """How the answers compared, as the status has it."""
    notes = (service.object.get("status") or {}).get("annotations") or {}
    found: dict[str, int] = json.loads(notes.get("colonnade.dev/shadow-result", '{"outcomes": {}}'))["outcomes"]
    return found


def counted(service: Versions, outcome: str) -> int:
    """What the gateway has counted of the present shadow of a service."""
    name = next(each["revisionName"] for each in service.component["traffic"] if not each["percent"])
    metrics = httpx.get(f"{service.product.http}/metrics").text
    found = re.search(rf'colonnade_gateway_shadow_total\{{[^}}]*"{name}",result="{outcome}"\}} (\d+)', metrics)
    return 0 if found is None else int(found[1])


@pytest.mark.parametrize(("version", "outcome"), [("one", "equal"), ("two", "different")])
def test_answers_are_compared_and_told(product: Product, tmp_path: Path, version: str, outcome: str) -> None:
    service = Versions(product, outcome, tmp_path)
    shadowed(service, 50, version=version)
    until(lambda: service.ask(2) and counted(service, outcome), "the gateway knows of the shadow")
    before = counted(service, outcome)
    assert service.ask(40) == {"one": 40}
    until(lambda: counted(service, outcome) == before + 20, "half of the requests are copied, and compared")
    until(lambda: result(service).get(outcome) == before + 20, "the status has it")
    shown = product.colonnade("rollout", "status", outcome)
    assert re.search(rf"{outcome}-blue-\S+ is a shadow of 50 % of the requests: .*{before + 20} {outcome}", shown)


def test_a_name_that_nothing_has_is_told(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "ghostly", tmp_path)
    service.apply(service.predictor("one"), {"colonnade.dev/shadow": "ghost=10"})
    told = until(lambda: service.condition("ShadowReady"), "it is told")
    assert (told["status"], told["reason"]) == ("False", "ShadowNotFound")
    (event,) = service.events("ShadowNotFound")
    assert "nothing runs under the name 'ghost'" in event
    assert event == told["message"]
    service.apply(service.predictor("one"), {"colonnade.dev/shadow": "ghostly-predictor-00001=10"})
    until(lambda: not service.condition("ShadowReady"), "it has all the requests, so there is nothing to say")


def test_annotations_that_cannot_be_read_are_refused(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "refused", tmp_path)
    manifest = service.manifest(service.predictor("one"), {"colonnade.dev/sticky": "bogus"})
    for command in (("apply", "-f", "-"), ("check", "-f", "-")):
        said = product.colonnade(*command, data=json.dumps(manifest), code=1)
        assert "must be header:NAME or cookie:NAME, not 'bogus'" in " ".join(said.split())


def test_a_shadow_that_hangs_delays_nobody(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "hangs", tmp_path)
    shadowed(service, 100, version="one", env__TAKES=600)
    with Steady(service.url, 60, clients=4) as load:
        until(lambda: load.answered > 150, "everybody is answered")
        until(lambda: result(service).get("dropped", 0) > 50, "copies that find no room are dropped")
    assert load.failed == {}
    assert set(load.answers) == {"one"}
    assert load.slowest < 60, "a caller waits for nobody who takes ten minutes"
    assert service.condition().get("status") == "True"


def test_a_shadow_that_dies_or_fails_is_nothing_to_the_callers(product: Product, tmp_path: Path) -> None:
    service = Versions(product, "fails", tmp_path)
    shadowed(service, 100, version="one", env__FAILS=1)
    with Steady(service.url, 60, clients=4) as load:
        until(lambda: sum(result(service).values()) > 50, "copies are compared")
        service.apply(service.predictor("one"))  # the shadow goes while it is asked
        until(lambda: service.shares == {"00001": 100}, "the shadow is gone")
        enough = load.answered + 50
        until(lambda: load.answered > enough, "everybody is answered")
    assert (load.failed, set(load.answers)) == ({}, {"one"})
    assert result(service) == {}
