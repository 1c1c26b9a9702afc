"""Adversarial examples: an image that looks the same and that the predictor takes for something else.

What KServe's explainer `art` answers: the square attack (Andriushchenko et al., 2020), which knows nothing of a model
but its answers, over the Adversarial Robustness Toolbox. It asks the predictor once for each square that it tries, so
an explanation is up to `max_iter` predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from colonnade.errors import InferenceError, InvalidInput, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes.base import framework

PACKAGE = "adversarial-robustness-toolbox"
TYPE = "SquareAttack"
SETTINGS = ("nb_classes", "max_iter", "eps")
"""What `config` of the manifest may say."""

_EXTRA = "art"
_FIRST_SQUARE = 0.8  # of the image's area, the library's default; a square must leave room to be moved
_UNBOUNDED = (-np.inf, np.inf)
_REMEMBERED = 4  # images of one attack: the best one, and the one that is tried against it

Scores = Callable[[np.ndarray], np.ndarray]


class Settings(NamedTuple):
    """What an attack may do.

    Attributes:
        nb_classes: how many classes the predictor tells apart.
        max_iter: squares that are tried.
        eps: how far a pixel may be moved, in the units of the image.
    """

    nb_classes: int = 10
    max_iter: int = 1000
    eps: float = 0.3


class SquareAttack(Model):
    """An explainer of images. Its predictor takes one flat row for each image, and answers with a class or scores."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._settings = settings

    def load(self) -> None:
        """Import the library.

        Raises:
            LoadFailed: it is not installed; or there is no predictor to attack.
        """
        if self.predictor is None:
            raise LoadFailed("an attack needs its predictor; say where that is with --predictor_host HOST:PORT")
        self._ask = self.predictor.ask
        self._attacks = framework("art.attacks.evasion.square_attack", _EXTRA, PACKAGE)
        self._estimators = framework("art.estimators.classification", _EXTRA, PACKAGE)

    def explain(self, payload: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Attack one image.

        Args:
            payload: `{"instances": [[image], [label]]}`: an image of (height, width, channels), and its class as a
                number or as a row with a 1 in its place.
            headers: some are passed on to the predictor.

        Returns:
            KServe's answer: the image that was found, how far it is from the one that was sent, and what the predictor
            says of both. If none was found, it says the same of both.
        """
        settings = self._settings
        image, label = asked(payload, settings.nb_classes)
        classifier = self._estimators.BlackBoxClassifierNeuralNetwork(
            self._scores(headers), image.shape[1:], settings.nb_classes, channels_first=False, clip_values=_UNBOUNDED
        )
        attack = self._attacks.SquareAttack(
            estimator=classifier, max_iter=settings.max_iter, eps=settings.eps, verbose=False
        )
        found = attack.generate(x=image, y=label)
        return {
            "explanations": {
                "adversarial_example": found.tolist(),
                "L2 error": float(np.linalg.norm(found - image)),
                "adversarial_prediction": int(np.argmax(classifier.predict(found))),
                "prediction": int(np.argmax(classifier.predict(image))),
            }
        }

    def _scores(self, headers: Mapping[str, str]) -> Scores:
        """Asks the predictor, and not twice for the same image: the attack compares each with the best so far."""

        @lru_cache(_REMEMBERED)
        def of(pixels: bytes, shape: tuple[int, ...], dtype: str) -> np.ndarray:
            rows = np.frombuffer(pixels, dtype).reshape(shape[0], -1)
            return scores(self._ask(rows, headers), len(rows), self._settings.nb_classes)

        return lambda images: of(images.tobytes(), images.shape, images.dtype.str)


def asked(payload: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The image (1, height, width, channels) and its label (1,) or (1, classes) of a request.

    Raises:
        InvalidInput: it has none that can be attacked; says why.
    """
    instances = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(instances, list) or len(instances) != 2:
        raise InvalidInput(
            '"instances" must be [[image], [label]]: image has (height, width, channels), label is its class'
        )
    try:
        image, label = np.asarray(instances[0], np.float32), np.asarray(instances[1], np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f'"instances" must hold an image and a label of numbers: {error}') from error
    if image.ndim != 4 or len(image) != 1 or not image.size or not np.isfinite(image).all():
        shape = list(image.shape)
        raise InvalidInput(
            f"instances[0] has shape {shape}; it must be one image of finite numbers, [1, height, width, channels]"
        )
    height, width = image.shape[1:3]
    if round((_FIRST_SQUARE * height * width) ** 0.5) >= min(height, width):
        raise InvalidInput(f"an image of {height} x {width} has no room for squares; send one about as high as wide")
    if label.shape == (1, classes):
        label = np.argmax(label, axis=1)
    if label.shape != (1,) or label[0] not in range(classes):
        raise InvalidInput(f"instances[1] must be [label], a class from 0 to {classes - 1} (nb_classes is {classes})")
    return image, label.astype(np.int64)


def scores(answer: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """What a predictor says of each row as (rows, classes): its scores, or 1 for the class that it names.

    Raises:
        InferenceError: its answer is neither; says what it must be.
    """
    if answer.shape == (rows, classes) and answer.dtype.kind in "fiu":
        return answer.astype(np.float64)
    if answer.shape == (rows,) and answer.dtype.kind in "fiub" and np.isin(answer, np.arange(classes)).all():
        return np.eye(classes)[answer.astype(np.int64)]
    raise InferenceError(
        f"the predictor answered {rows} images with {answer.dtype} of shape {list(answer.shape)}; an attack needs "
        f"a class from 0 to {classes - 1} or {classes} scores for each (nb_classes is {classes})"
    )
