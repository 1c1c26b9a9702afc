"""The state directory: short socket paths, private folders, one holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from colonnade import errors
from colonnade.control import lock
from colonnade.control.layout import Layout


def test_sockets_lie_in_the_state_directory_if_its_path_is_short(tmp_path: Path) -> None:
    assert Layout(Path("/s")).run == Path("/s/run")
    deep = Layout(tmp_path / ("x" * 100))
    assert len(os.fsencode(deep.run / "gateway.sock.grpc")) <= 100
    assert deep.run == Layout(tmp_path / ("x" * 100)).run != Layout(tmp_path / ("y" * 100)).run


def test_folders_are_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    layout.create()
    layout.create()
    assert [path.stat().st_mode & 0o777 for path in (layout.root, layout.run)] == [0o700, 0o700]


def test_a_folder_that_cannot_be_made_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (Path("/proc/x"), tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(errors.Forbidden, match=f"{root} cannot be made: .*--state-dir"):
            Layout(root).create()


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    layout.root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    layout.run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.Forbidden, match="state-dir"):
        layout.create()


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import sys, pathlib; from colonnade.control import lock\n"
    code += f"with lock.held(pathlib.Path({str(path)!r})): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(errors.Conflict, match=f"process {other.pid}") as refusal, lock.held(path):
            pass
        assert str(tmp_path) in refusal.value.message
        other.kill()
    with lock.held(path):
        assert int(path.read_text()) == os.getpid()
