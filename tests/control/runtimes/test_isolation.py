"""Which requirements make an environment, and whose consent that needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonnade import defaults
from colonnade.control.runtimes.isolation import SHARED, Isolation
from colonnade.control.runtimes.selection import Runtime
from colonnade.control.workload.sources import Source
from colonnade.errors import LoadFailed

from ..kserve_objects import isvc


def isolation(uri: str = "/m", runtime: Runtime | None = None, **annotations: str) -> Isolation:
    named = {f"colonnade.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return Isolation.of(isvc(annotations=named), "predictor", runtime, (Source(uri),))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("a==1 b[x,y]==2.0  c", ("a==1", "b[x,y]==2.0", "c")),
        ("a >= 1, < 2", ("a >= 1, < 2",)),
        ("a==1; python_version < '3.12'", ("a==1; python_version < '3.12'",)),
        ("a==1\n\n# note\nb  # why\n", ("a==1", "b")),
        (
            "--extra-index-url https://h/x\na @ https://h/a.whl",
            ("--extra-index-url https://h/x", "a @ https://h/a.whl"),
        ),
        ("a==1 \\\n  --hash=sha256:00", ("a==1 --hash=sha256:00",)),
        ("a\na", ("a",)),
    ],
)
def test_the_annotation_lists_requirements(text: str, lines: tuple[str, ...]) -> None:
    assert isolation(requirements=text).lines == lines


def test_service_component_and_runtime_add_up() -> None:
    runtime = Runtime("r", spec={"annotations": {defaults.REQUIREMENTS: "d"}}, annotations={defaults.REQUIREMENTS: "c"})
    service: dict[str, Any] = isvc(annotations={defaults.REQUIREMENTS: "a"})
    service["spec"]["predictor"]["annotations"] = {defaults.REQUIREMENTS: "b"}
    assert Isolation.of(service, "predictor", runtime, ()).lines == ("a", "b", "c", "d")


def test_none_is_none() -> None:
    runtime = Runtime("r", annotations={defaults.REQUIREMENTS: "c"})
    assert isolation(runtime=runtime, requirements="none") == SHARED
    assert isolation().recipe(None) is None


def folder(tmp_path: Path, text: str = "numpy==1\n") -> Path:
    (tmp_path / "requirements.txt").write_text(text)
    return tmp_path


def test_a_model_brings_its_requirements(tmp_path: Path) -> None:
    recipe = isolation(requirements="a").recipe(folder(tmp_path))
    assert recipe is not None
    assert recipe.lines == ("a", "numpy==1")
    assert isolation(requirements="none").recipe(tmp_path) is None
    assert isolation().recipe(tmp_path / "requirements.txt") is None  # a model that is a file has no folder


@pytest.mark.parametrize(
    ("uri", "consent", "allowed"),
    [
        ("/m", None, True),
        ("file:///m", None, True),
        ("/m", "false", False),
        ("https://h/m.zip", None, False),
        ("s3://b/m", None, False),
        ("s3://b/m", "true", True),
    ],
)
def test_what_came_over_the_network_needs_consent(tmp_path: Path, uri: str, consent: str | None, allowed: bool) -> None:
    found = isolation(uri, **({} if consent is None else {"trust_code": consent}))
    if allowed:
        assert found.recipe(folder(tmp_path)) is not None
        return
    with pytest.raises(LoadFailed, match=r"consent with the annotation colonnade\.dev/trust-code") as caught:
        found.recipe(folder(tmp_path))
    assert "colonnade.dev/requirements: none" in caught.value.message


def test_a_huge_file_is_none(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="more than 65536 bytes"):
        isolation().recipe(folder(tmp_path, "a\n" * 40_000))
