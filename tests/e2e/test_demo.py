"""`make demo` is what a new user runs first: the same script, the same answers."""

from __future__ import annotations

import subprocess
import sys

from .product import ROOT


def test_the_demo_prints_real_answers_and_ends() -> None:
    ran = subprocess.run(
        [sys.executable, "examples/iris/demo.py"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"predictions"' in ran.stdout
    assert '"outputs"' in ran.stdout
    assert "raw_output_contents" in ran.stdout or "int64_contents" in ran.stdout
    assert "The platform has stopped." in ran.stdout
