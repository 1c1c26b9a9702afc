"""What the explainer `art` takes of requests and of its predictor's answers. The attack itself: `tests/server`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from colonnade.errors import InferenceError, InvalidInput, LoadFailed
from colonnade.resources import served
from colonnade.runtimes.environments import ADAPTERS
from colonnade.runtimes.explainers import art
from colonnade.runtimes.images import ART

IMAGE = np.zeros((1, 8, 8, 1)).tolist()


def test_the_facts_are_the_same_everywhere() -> None:
    assert art.TYPE == served.ART_TYPE
    assert sorted(art.Settings._fields) == sorted(served.ART_SETTINGS)
    assert ART == art.PACKAGE
    assert ADAPTERS["art"][0].startswith(art.PACKAGE)


@pytest.mark.parametrize("label", [[3], [3.0], [[0, 0, 0, 1]]])
def test_an_image_and_its_label(label: Any) -> None:
    image, read = art.asked({"instances": [IMAGE, label]}, 4)
    assert (image.shape, image.dtype, read.tolist()) == ((1, 8, 8, 1), np.float32, [3])


@pytest.mark.parametrize(
    ("instances", "text"),
    [
        (None, "must be [[image], [label]]"),
        ([IMAGE], "must be [[image], [label]]"),
        ([IMAGE, [1], [2]], "must be [[image], [label]]"),
        (["x", [1]], "of numbers"),
        ([[[1], [1, 2]], [1]], "of numbers"),
        ([{}, [1]], "of numbers"),
        ([IMAGE[0], [1]], "has shape [8, 8, 1]"),
        ([IMAGE * 2, [1]], "has shape [2, 8, 8, 1]"),
        ([np.full((1, 8, 8, 1), np.inf).tolist(), [1]], "finite"),
        ([np.zeros((1, 8, 64, 1)).tolist(), [1]], "8 x 64 has no room"),
        ([np.zeros((1, 2, 2, 1)).tolist(), [1]], "2 x 2 has no room"),
        ([np.zeros((1, 8, 8, 0)).tolist(), [1]], "[1, 8, 8, 0]"),
        ([IMAGE, 1], "a class from 0 to 3"),
        ([IMAGE, [4]], "a class from 0 to 3"),
        ([IMAGE, [-1]], "a class from 0 to 3"),
        ([IMAGE, [1.5]], "a class from 0 to 3"),
        ([IMAGE, [1, 2]], "a class from 0 to 3"),
        ([IMAGE, [None]], "a class from 0 to 3"),
    ],
)
def test_what_cannot_be_attacked(instances: Any, text: str) -> None:
    with pytest.raises(InvalidInput) as failed:
        art.asked({} if instances is None else {"instances": instances}, 4)
    assert text in failed.value.message


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ([2, 0], [[0, 0, 1], [1, 0, 0]]),
        ([2.0, 0.0], [[0, 0, 1], [1, 0, 0]]),
        ([[0.1, 0.2, 0.7], [1, 2, 3]], [[0.1, 0.2, 0.7], [1, 2, 3]]),
    ],
)
def test_a_predictor_says_classes_or_scores(answer: Any, scores: list[list[float]]) -> None:
    assert art.scores(np.asarray(answer), 2, 3).tolist() == scores


@pytest.mark.parametrize("answer", [[3, 0], [-1, 0], [0.5, 0], [1], ["a", "b"], [[1, 2], [3, 4]], [[[1]], [[2]]], 1])
def test_other_answers_cannot_be_compared(answer: Any) -> None:
    with pytest.raises(InferenceError, match="nb_classes is 3"):
        art.scores(np.asarray(answer), 2, 3)


def test_an_attack_needs_a_predictor() -> None:
    with pytest.raises(LoadFailed, match="--predictor_host"):
        art.SquareAttack("m", art.Settings()).load()
