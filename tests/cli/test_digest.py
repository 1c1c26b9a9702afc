"""`colonnade digest`: the line that is pinned, and what a scan would say."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

from colonnade.cli.main import main


def run(*words: str, state: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--state-dir", str(state), "digest", *words])
    return done.exit_code, done.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_text("{}")
    return path


def test_it_prints_one_line_that_can_be_pinned(file: Path, tmp_path: Path) -> None:
    expected = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert run(str(file), state=tmp_path / "none") == (0, f"{expected}\n")
    assert run(f"file://{file}", state=tmp_path / "none") == (0, f"{expected}\n")
    assert not (tmp_path / "none").exists(), "it leaves nothing behind"


def test_it_says_what_a_scan_finds(file: Path, tmp_path: Path) -> None:
    code, said = run("--scan", str(file), state=tmp_path)
    assert (code, said.splitlines()[1]) == (0, "Passed: 1 files, 2 bytes (1 json)")
    bad = tmp_path / "model.pkl"
    bad.write_bytes(pickle.dumps(print))
    code, said = run("--scan", str(bad), state=tmp_path)
    assert code == 1
    assert "code: model.pkl: it asks for builtins.print" in said
    code, said = run(str(bad), "-o", "json", state=tmp_path)
    assert (code, json.loads(said)["verdict"]) == (0, "Refused")


def test_what_has_no_digest_is_refused(tmp_path: Path) -> None:
    code, said = run(str(tmp_path / "nothing"), state=tmp_path)
    assert code == 1
    assert "does not exist" in said
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("/etc/passwd")
    code, said = run(str(tmp_path / "folder"), state=tmp_path)
    assert code == 1
    assert "lies outside of the model" in said
