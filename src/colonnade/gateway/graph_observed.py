"""Steps on their way to services whose requests somebody wants to see."""

from __future__ import annotations

from colonnade.gateway.graph_exchange import StepForward
from colonnade.gateway.observed import Observed


class ObservedStep(StepForward, Observed):
    """A step that the observers of its service see, as they see any other request of it."""
