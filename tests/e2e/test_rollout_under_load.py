"""Rollouts and rollbacks under a steady load: no request is lost, and each version takes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from .product import Product, until
from .steady import Steady
from .versions import Versions


def takes_over(load: Steady, version: str) -> None:
    """Wait until this version has given further answers."""
    enough = load.answers[version] + 5
    until(lambda: load.answers[version] > enough, f"{version} takes over")


def roll(product: Product, folder: Path, name: str, rounds: int, rate: float, requests: int = 0) -> Steady:
    """So many rollouts of a new version and rollbacks to the first one, by turns, under a load of so many requests."""
    service = Versions(product, name, folder)
    service.apply(service.predictor("first"))
    with Steady(service.url, rate) as load:
        for number in range(rounds):
            for version in (f"new-{number}", "first"):
                if version == "first":
                    product.colonnade("rollout", "undo", name)
                else:
                    service.apply(service.predictor(version), wait=False)
                takes_over(load, version)
        until(lambda: load.answered >= requests, "the load has come")
    assert {f"new-{number}" for number in range(rounds)} <= set(load.answers)
    return load


def test_no_request_is_lost(product: Product, tmp_path: Path) -> None:
    load = roll(product, tmp_path, "short", rounds=3, rate=200)
    assert load.failed == {}


@pytest.mark.slow
def test_no_request_is_lost_in_a_minute_of_rollouts(product: Product, tmp_path: Path) -> None:
    """Twenty rollouts and twenty rollbacks; a machine that is slower takes more than the minute."""
    load = roll(product, tmp_path, "long", rounds=20, rate=200, requests=60 * 200)
    assert load.failed == {}
