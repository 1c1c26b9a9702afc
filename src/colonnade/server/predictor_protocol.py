"""In what a transformer or an explainer asks its predictor.

Apart from what does so, since every replica's command line knows these, and few replicas have a predictor: its clients
bring HTTP/2 and protobuf, for which no other start shall wait.
"""

from __future__ import annotations

from enum import StrEnum

TIMEOUT = 600.0  # seconds; KServe's default of --predictor_request_timeout_seconds


class PredictorProtocol(StrEnum):
    """What the predictor is asked in."""

    V1 = "v1"
    V2 = "v2"
    GRPC = "grpc-v2"
