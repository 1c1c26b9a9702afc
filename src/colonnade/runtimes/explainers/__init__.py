"""Explainers that live in the replica of the model that they explain, so that no second process asks for predictions.

An explainer is made from a loaded model and the files beside it, and becomes its `explain` hook. It knows nothing of
protocols, nor of who asks. Start reading in `shap`.
"""

from __future__ import annotations

NAMES = ("shap",)
"""What `--explainer` and the annotation `colonnade.dev/explainer` take."""
