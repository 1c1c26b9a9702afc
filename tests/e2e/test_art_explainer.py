"""KServe's explainer `art` on the running product: its manifest, an environment of its own, an image that fools it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from .product import Product, service, until

pytestmark = pytest.mark.slow


@pytest.fixture
def digits(tmp_path: Path) -> dict[str, Any]:
    """A service that tells digits apart, with the explainer."""
    images, labels = load_digits(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=500).fit(images / 16, labels), tmp_path / "model.joblib")
    manifest = service("digits", {"sklearn": {"storageUri": str(tmp_path)}})
    manifest["spec"]["explainer"] = {"art": {"type": "SquareAttack", "config": {"nb_classes": "10", "eps": "1.0"}}}
    return manifest


def test_an_image_is_found_that_fools_the_predictor(product: Product, digits: dict[str, Any]) -> None:
    digits["spec"]["explainer"]["annotations"] = {"colonnade.dev/requirements": "adversarial-robustness-toolbox>=1.20"}
    product.apply(digits, wait=False)
    until(lambda: ready(product), "the environment is made and the explainer ready", 300)
    images, labels = load_digits(return_X_y=True)
    image, label = (images[0] / 16).reshape(1, 8, 8, 1), int(labels[0])
    body = {"instances": [image.tolist(), [label]]}
    answer = httpx.post(f"{product.http}/serving/default/digits/v1/models/digits:explain", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    told = answer.json()["explanations"]
    found = np.array(told["adversarial_example"])
    assert told["prediction"] == label != told["adversarial_prediction"]
    asked = product.ask("digits", "v1", {"instances": found.reshape(1, -1).tolist()})
    assert asked.json() == {"predictions": [told["adversarial_prediction"]]}


def ready(product: Product) -> bool:
    status = json.loads(product.colonnade("get", "isvc", "digits", "-o", "json")).get("status") or {}
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
