"""What the start of a plain replica does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from email.utils import formatdate

import pytest

from colonnade.net.head import http_date

UNNEEDED = {
    *("google.protobuf", "hpack", "colonnade.net.http2", "colonnade.server.grpc_app", "colonnade.server.predictor"),
    *("importlib.metadata", "email", "statistics", "difflib", "secrets", "hashlib", "numpy.random"),
    *("sklearn", "skops", "yaml", "httpx", "cryptography", "rich", "colonnade.runtimes.compile.store"),
}


def test_a_plain_start_imports_nothing_that_it_does_not_need() -> None:
    code = f"import sys, colonnade.server.main; print(sorted({UNNEEDED} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_ids_of_a_fork_are_its_own() -> None:
    code = (
        "import os; from colonnade.server.identity import new_id\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print(new_id(), flush=True)\n"
        "if not pid: os._exit(0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    first, second = found.stdout.split()
    assert first[:16] != second[:16]


@pytest.mark.parametrize("seconds", [0.0, 951782400.0, 1709210096.9, 4102444799.0])
def test_a_date_is_that_of_the_standard_library(seconds: float) -> None:
    assert http_date(seconds).decode() == formatdate(seconds, usegmt=True)
