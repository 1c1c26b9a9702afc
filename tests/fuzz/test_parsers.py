"""Every parser of bytes from outside, fuzzed by coverage: nothing but the product's own refusals comes out of it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "75"))  # for each target
START = 60  # seconds for imports, and for the last input

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason=f"atheris is not installed: it has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]} here",
    ),
]


@pytest.mark.parametrize("target", ["http1", "http2", "mux", "v2", "binary", "grpc", "v1"])
def test_only_refusals(target: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, str(SECONDS), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        timeout=SECONDS + START,
    )
    said = ran.stderr.decode(errors="replace")
    broken = [f"{file.name}: {file.read_bytes()!r}" for file in tmp_path.iterdir() if file.is_file()]
    assert ran.returncode == 0, "\n".join([*broken, ran.stdout.decode(errors="replace")[-4000:], said[-4000:]])
    inputs = [line for line in said.splitlines() if "stat::number_of_executed_units" in line]
    print(f"\n{target}: {' '.join(inputs)}")
    assert inputs, said[-4000:]
