"""Which replicas are forked, and by what."""

from __future__ import annotations

import sys

import pytest

from colonnade.control.replicas.pooling import Pooling, pooling
from colonnade.control.workload import variables
from colonnade.errors import InvalidInput
from colonnade.platforms.base import Seed

SERVER = (sys.executable, "-m", "colonnade.server", "--model-name", "m")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("auto", Pooling()),
        ("off", Pooling(sleepers=False)),
        ("sklearn", Pooling(frozenset({"sklearn"}))),
        ("sklearn, onnx", Pooling(frozenset({"sklearn", "onnx"}))),
    ],
)
def test_what_the_option_says(text: str, found: Pooling) -> None:
    assert pooling(text) == found
    assert found.off == (text == "off")


@pytest.mark.parametrize("text", ["", "sklern", "sklearn,tensorflow", "auto,sklearn"])
def test_what_cannot_be_imported_beforehand_is_named_with_what_can(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--pool: .*auto, off, or some of .*onnx, .*sklearn"):
        pooling(text)


@pytest.mark.parametrize(
    ("given", "argv", "sleeps", "adapter"),
    [
        (pooling("auto"), (*SERVER, "--runtime", "sklearn"), True, "sklearn"),
        (pooling("auto"), (*SERVER, "--runtime", "sklearn"), False, ""),
        (pooling("auto"), (*SERVER, "--runtime", "auto"), True, ""),  # nobody knows what it will import
        (pooling("auto"), (*SERVER, "--runtime", "tensorflow"), True, ""),
        (pooling("auto"), ("mlserver", "start", "--runtime", "sklearn"), True, ""),
        (pooling("off"), (*SERVER, "--runtime", "sklearn"), True, ""),
        (pooling("sklearn"), (*SERVER, "--runtime", "sklearn"), False, "sklearn"),
        (pooling("onnx"), (*SERVER, "--runtime", "sklearn"), False, ""),
        (pooling("onnx"), (*SERVER, "--runtime", "sklearn"), True, "sklearn"),
    ],
)
def test_who_is_forked(given: Pooling, argv: tuple[str, ...], sleeps: bool, adapter: str) -> None:
    seed = given.seed_of(argv, {}, sleeps=sleeps)
    assert (seed.argv if seed else None) == (
        (sys.executable, "-m", "colonnade.server.seed", adapter) if adapter else None
    )


def test_replicas_share_a_seed_if_no_library_could_tell_them_apart() -> None:
    argv = (*SERVER, "--runtime", "onnx")
    one = {variables.SOCKET: "/a", "K_REVISION": "a-1", "INFERENCE_SERVICE_NAME": "a", variables.COMPILED: "/c"}
    two = {"K_REVISION": "b-1", "INFERENCE_SERVICE_NAME": "b", **dict.fromkeys(variables.ALL, "/b")}
    given = pooling("onnx")
    (planted,) = given.seeds()
    assert given.seed_of(argv, one, sleeps=False) == given.seed_of(argv, two, sleeps=False) == planted
    threads = given.seed_of(argv, {**one, "OMP_NUM_THREADS": "4"}, sleeps=False)
    assert threads == Seed(planted.argv, {"OMP_NUM_THREADS": "4"})
    other = given.seed_of(("/env/bin/python", *argv[1:]), {"VIRTUAL_ENV": "/env"}, sleeps=False)
    assert other is not None
    assert other.argv[0] == "/env/bin/python"
