"""Which shares revisions get, and which pods come and go: tables."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.rollouts.rollout import Past, Share, Split, Wish, pods, replicas, split

from ..kserve_objects import pod

A, B, C, V = (f"iris-predictor-0000{number}" for number in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("predictor", "count"), [({}, 1), ({"minReplicas": 0}, 1), ({"minReplicas": None}, 1), ({"minReplicas": 3}, 3)]
)
def test_how_many(predictor: dict[str, Any], count: int) -> None:
    assert replicas(predictor) == count


def past(rolledout: str = "", previous: str = "", **shares: int) -> Past:
    names = {"a": A, "b": B, "c": C, "v": V}
    return Past(rolledout, previous, tuple(Share(names[name], percent) for name, percent in shares.items()))


def decided(
    wish: Wish, before: Past, ready: str, serving: str | None = None, known: str = A + B + C + V
) -> tuple[Split, dict[str, int]]:
    alive = ready if serving is None else serving
    found = split(wish, before, ready=ready.__contains__, serves=alive.__contains__, known=lambda name: name in known)
    return found, {share.revision: share.percent for share in found.now.shares}


@pytest.mark.parametrize(
    ("wish", "before", "ready", "shares", "rolledout", "previous"),
    [
        pytest.param(Wish(A), past(), "", {}, "", "", id="first: nobody serves yet"),
        pytest.param(Wish(A), past(), A, {A: 100}, A, "", id="first: it serves"),
        pytest.param(Wish(B), past(A, a=100), A, {A: 100}, A, "", id="the old serves until the new one is ready"),
        pytest.param(Wish(B), past(A, a=100), A + B, {B: 100}, B, A, id="the new takes over"),
        pytest.param(Wish(B, 10), past(A, a=100), A + B, {B: 10, A: 90}, A, "", id="canary"),
        pytest.param(Wish(B, 10), past(A, a=100), A, {A: 100}, A, "", id="a canary that is not ready gets nothing"),
        pytest.param(Wish(B, 30), past(A, b=10, a=90), A + B, {B: 30, A: 70}, A, "", id="more of it"),
        pytest.param(Wish(B), past(A, b=10, a=90), A + B, {B: 100}, B, A, id="promoted: the field is gone"),
        pytest.param(Wish(B, 100), past(A, b=10, a=90), A + B, {B: 100}, B, A, id="promoted: 100"),
        pytest.param(Wish(B, 0), past(A, b=10, a=90), A + B, {B: 0, A: 100}, A, "", id="pinned to the stable one"),
        pytest.param(Wish(B, 0), past(B, A, b=100), A + B, {B: 0, A: 100}, B, A, id="rolled back after promotion"),
        pytest.param(Wish(B, 0), past(B, A, b=100), B, {B: 100}, B, A, id="not before the one before is ready"),
        pytest.param(Wish(C, 20), past(B, A, b=100), B + C, {C: 20, B: 80}, B, A, id="a canary over a promoted one"),
        pytest.param(Wish(B, 10), past(B, b=100), B, {B: 100}, B, "", id="the very first has no canary"),
        pytest.param(Wish(C), past(A, b=10, a=90), A + B, {B: 10, A: 90}, A, "", id="overtaken: the split stays"),
        pytest.param(Wish(""), past(A, b=10, a=90), A + B, {B: 10, A: 90}, A, "", id="refused: the split stays"),
        pytest.param(
            Wish(A, 100, ((V, 20),)), past(A, a=100), A + V, {A: 80, V: 20}, A, "", id="a variant"
        ),
        pytest.param(
            Wish(A, 100, ((V, 20),)), past(A, a=100), A, {A: 100, V: 0}, A, "", id="a variant that is not ready"
        ),
        pytest.param(
            Wish(V, 100), past(A, a=80, v=20), A + V, {V: 100}, V, A, id="a promoted variant"
        ),
        pytest.param(
            Wish(A, 100, ((B, 20), (V, 80))), past(A, a=100), A + B + V, {A: 0, B: 20, V: 80}, A, "", id="only variants"
        ),
    ],
)  # fmt: skip
def test_shares(wish: Wish, before: Past, ready: str, shares: dict[str, int], rolledout: str, previous: str) -> None:
    found, now = decided(wish, before, ready)
    assert (now, found.now.rolledout, found.now.previous) == (shares, rolledout, previous)
    assert sum(now.values()) in (0, 100)


def test_whoever_lives_takes_over_from_the_dead() -> None:
    _, now = decided(Wish(B), past(A, a=100), ready="", serving=B)
    assert now == {B: 100}, "not all of its replicas are ready, but the old one has none"
    _, now = decided(Wish(B), past(A, a=100), ready="", serving=A + B)
    assert now == {A: 100}


def test_a_revision_that_is_gone_gets_nothing() -> None:
    found, now = decided(Wish(B, 10), past(A, a=100), ready=B, known=B)
    assert now == {B: 100}
    assert found.named == {B}


def test_what_waits_for_its_share_runs() -> None:
    found, _ = decided(Wish(B, 10, ((V, 5),)), past(A, a=100), ready=A)
    assert found.named == {A, B, V}


def test_tags_are_knatives() -> None:
    found, _ = decided(Wish(B, 10), past(A, a=100), A + B)
    assert [(share.revision, share.tag) for share in found.now.shares] == [(B, "latest"), (A, "prev")]


@pytest.mark.parametrize(
    ("found", "counts", "create", "retire"),
    [
        pytest.param([], {A: 2}, {A: 2}, [], id="all are made"),
        pytest.param([pod("a", ready=False)], {A: 2}, {A: 1}, [], id="what is missing is made"),
        pytest.param([pod("a")], {A: 1, B: 1}, {B: 1}, [], id="a new revision is made beside the old"),
        pytest.param([pod("a"), pod("b", 2)], {B: 1}, {}, ["a"], id="what nobody names goes"),
        pytest.param([pod("a"), pod("b", 2)], {A: 0, B: 1}, {}, ["a"], id="scaled to zero"),
        pytest.param([pod("a", created="1"), pod("b", created="2")], {A: 1}, {}, ["b"], id="the youngest"),
        pytest.param([pod("a", ready=False), pod("b")], {A: 1}, {}, ["a"], id="fewer: not ready first"),
        pytest.param([pod("a", draining=True), pod("b")], {A: 1}, {}, ["a"], id="a draining pod stays gone"),
        pytest.param([pod("a", draining=True)], {A: 1}, {A: 1}, ["a"], id="a draining pod does not count"),
        pytest.param([pod("a"), pod("b", 2)], {}, {}, ["a", "b"], id="stopped"),
    ],
)
def test_pods(found: list[dict[str, Any]], counts: dict[str, int], create: dict[str, int], retire: list[str]) -> None:
    change = pods(found, counts)
    assert (change.create, [each["metadata"]["name"] for each in change.retire]) == (create, retire)
