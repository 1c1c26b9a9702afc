"""What the runtime tests share: KServe's data, and requests as the server would make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

KSERVE = Path(__file__).parents[3] / "shared" / "kserve"


@pytest.fixture(scope="session")
def kserve() -> Path:
    """KServe's models and payloads."""
    if not KSERVE.is_dir():
        pytest.skip(f"KServe's data is not at {KSERVE}")
    return KSERVE


@pytest.fixture(scope="session")
def payload(kserve: Path) -> Any:
    """Reads a payload of KServe's tests by name."""
    return lambda name: json.loads((kserve / "payloads" / f"{name}.json").read_bytes())
