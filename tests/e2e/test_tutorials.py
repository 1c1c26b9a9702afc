"""Each tutorial runs as it is written: its `sh` blocks in one shell, its `text` blocks are lines that must appear."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from .product import BIN, ROOT

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(sh|python|text|json|yaml)(?: title=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    script, expected = ["set -e", "trap 'kill %1 2>/dev/null || true; wait' EXIT"], []
    for language, title, text in BLOCK.findall(page.read_text()):
        if language == "sh":
            script.append(text)
        elif language == "text":
            expected += [line for line in text.splitlines() if line.strip()]
        elif title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(text)
    path = f"{BIN}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    assert ran.returncode == 0, ran.stdout
    for line in expected:
        assert line.strip() in ran.stdout, f"{line!r} is not in:\n{ran.stdout}"


def test_there_are_tutorials() -> None:
    assert len(TUTORIALS) >= 2
