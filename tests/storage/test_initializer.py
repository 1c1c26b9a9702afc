"""A storage initializer of the user's own, as a real process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from colonnade.errors import LoadFailed
from colonnade.storage.cache import Cache
from colonnade.storage.initializer import Initializer, run
from colonnade.storage.limits import Limits
from colonnade.storage.provider import Order


def call(
    tmp_path: Path, program: str, *args: str, env: dict[str, str] | None = None, granted: dict[str, str] | None = None
) -> Path:
    order = Order("model-registry://iris/1?sig=hunter2", Cache(tmp_path / "cache"), Limits(), {})
    return run(Initializer("mine", (sys.executable, "-c", program, *args), env or {}), order, granted or {})


def test_it_is_called_with_uri_and_folder_and_what_it_leaves_is_the_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERATORS_SECRET", "x")
    program = (
        "import os, sys; from pathlib import Path; words = sys.argv[1:]\n"
        "folder = Path(words[-1]); (folder / 'd').mkdir(); (folder / 'd/words').write_text(repr(words[:-1]))\n"
        "(folder / 'env').write_text(os.environ['OWN'] + os.environ['TOKEN'] + os.environ.get('OPERATORS_SECRET', ''))"
    )
    found = call(tmp_path, program, "--fast", env={"OWN": "1", "TOKEN": "0"}, granted={"TOKEN": "2"})
    assert (found / "d/words").read_text() == "['--fast', 'model-registry://iris/1?sig=hunter2']"
    assert (found / "env").read_text() == "12"
    assert call(tmp_path, program, "--fast", env={"OWN": "1", "TOKEN": "0"}, granted={"TOKEN": "2"}) == found


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (
            "import os; print('no such model for', os.environ['TOKEN']); raise SystemExit(3)",
            r"exit code 3: .*for \*\*\*",
        ),
        ("pass", "left no file"),
        ("import os, sys; os.symlink('/etc/passwd', sys.argv[-1] + '/m')", "leaves its folder"),
        ("import os, sys; os.mkfifo(sys.argv[-1] + '/m')", "which is no file"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9: it said nothing"),
    ],
)
def test_what_goes_wrong_is_told_without_secrets(tmp_path: Path, program: str, text: str) -> None:
    with pytest.raises(LoadFailed, match=text) as caught:
        call(tmp_path, program, granted={"TOKEN": "hunter2"})
    assert "hunter2" not in caught.value.message
    assert not (tmp_path / "cache/artefacts").exists()


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "(Path(sys.argv[-1]) / 'pid').write_text(str(child.pid))"
    )
    pid = int((call(tmp_path, program) / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().split()[2] in "ZX"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    order = Order("x://y", Cache(tmp_path), Limits(), {})
    with pytest.raises(LoadFailed, match="no-such-program: No such file or directory; its command must be on"):
        run(Initializer("mine", ("no-such-program",), {}), order, {})
    assert os.listdir(tmp_path / "partial") == []
