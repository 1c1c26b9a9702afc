"""Every route, and the paths that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.server.paths import Operation, Target, parse


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/", Target(Operation.ALIVE)),
        (b"/metrics", Target(Operation.METRICS)),
        (b"/v1/models", Target(Operation.V1_MODELS)),
        (b"/v1/models/", Target(Operation.V1_MODELS)),
        (b"/v1/models/m", Target(Operation.V1_MODEL, "m")),
        (b"/v1/models/m:predict", Target(Operation.V1_PREDICT, "m")),
        (b"/v1/models/m%3Apredict", Target(Operation.V1_PREDICT, "m")),
        (b"/v1/models/a:b:explain", Target(Operation.V1_EXPLAIN, "a:b")),
        (b"/v1/models/m:other", Target(Operation.V1_MODEL, "m:other")),
        (b"/v1/models/:predict", Target(Operation.V1_MODEL, ":predict")),
        (b"/v2", Target(Operation.V2_SERVER)),
        (b"/v2/", Target(Operation.V2_SERVER)),
        (b"/v2/health/live", Target(Operation.V2_LIVE)),
        (b"/v2/health/ready", Target(Operation.V2_READY)),
        (b"/v2/models", Target(Operation.V2_MODELS)),
        (b"/v2/models/m", Target(Operation.V2_MODEL, "m")),
        (b"/v2/models/m/ready", Target(Operation.V2_MODEL_READY, "m")),
        (b"/v2/models/m/infer", Target(Operation.V2_INFER, "m")),
        (b"/v2/models/versions/infer", Target(Operation.V2_INFER, "versions")),
        (b"/v2/models/m/versions/1", Target(Operation.V2_MODEL, "m", "1")),
        (b"/v2/models/m/versions/1/ready", Target(Operation.V2_MODEL_READY, "m", "1")),
        (b"/v2/models/m/versions/1/infer", Target(Operation.V2_INFER, "m", "1")),
        (b"/v2/models/a%2Fb/infer", Target(Operation.V2_INFER, "a/b")),
        (b"/v2/models/caf%C3%A9/ready", Target(Operation.V2_MODEL_READY, "café")),
        (b"/v2/repository/index", Target(Operation.V2_INDEX)),
        (b"/v2/repository/models/m/load", Target(Operation.V2_LOAD, "m")),
        (b"/v2/repository/models/m/unload", Target(Operation.V2_UNLOAD, "m")),
    ],
)
def test_a_route_names_its_operation(path: bytes, target: Target) -> None:
    assert parse(path) == target


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"//",
        b"/v1",
        b"/v3/models",
        b"/v1/models/m/predict",
        b"/v2/models//infer",
        b"/v2/models/m/stats",
        b"/v2/models/m/versions",
        b"/v2/models/m/versions//infer",
        b"/v2/repository/models/m",
        b"/v2/repository/models/m/drop",
        b"/v2/models/%ff/infer",
        b"*",
    ],
)
def test_other_paths_are_no_route(path: bytes) -> None:
    target = parse(path)
    assert target is None or target.operation is Operation.ALIVE


@given(st.binary())
def test_no_path_breaks_the_parser(path: bytes) -> None:
    parse(path)
