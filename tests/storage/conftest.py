"""The fixture of the storage tests: a server that is up for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .origin import Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    yield server
    server.close()
