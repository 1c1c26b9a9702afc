"""Environments of replicas: made by the real uv, from tiny packages."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import colonnade
from colonnade.errors import LoadFailed
from colonnade.runtimes import environments
from colonnade.runtimes.environments import ADAPTERS, READY, SERVER, Environments, Recipe, interpreter

from .wheels import offline, wheel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", "greeting", version)
    wheel(tmp_path / "wheels", "caller", "1.0", requires="greeting<2")
    return tmp_path / "wheels"


def recipe(shelf: Path, *lines: str) -> Recipe:
    return Recipe((*offline(shelf), *lines))


def said(folder: Path, code: str) -> str:
    return subprocess.run([interpreter(folder), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_two_models_have_two_versions_and_nothing_of_ours(tmp_path: Path, shelf: Path) -> None:
    made = Environments(tmp_path / "environments")
    one, two = (made.make(recipe(shelf, f"greeting=={version}")) for version in ("1.0", "2.0"))
    assert [said(folder, "import greeting; print(greeting.VERSION)") for folder in (one, two)] == ["1.0", "2.0"]
    assert subprocess.run([one / "bin" / "greeting"], capture_output=True, check=True).stdout == b"1.0\n"
    missing = "import importlib.util as u; print(u.find_spec('numpy'), u.find_spec('colonnade'))"
    assert said(one, missing) == "None None"
    assert said(one, "import sys; print(sys.version)") == sys.version


def test_the_same_content_is_made_once(tmp_path: Path, shelf: Path) -> None:
    made = Environments(tmp_path / "environments")
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: made.make(recipe(shelf, "greeting")), range(4)))
    (folder,) = folders
    inode = (folder / READY).stat().st_ino
    os.utime(folder / READY, (1, 1))
    assert made.make(recipe(shelf, "greeting")) == folder
    assert (folder / READY).stat().st_ino == inode
    assert (folder / READY).stat().st_mtime > 1, "it was asked for now"


def test_what_was_cut_off_is_made_again(tmp_path: Path, shelf: Path) -> None:
    made = Environments(tmp_path / "environments")
    folder = tmp_path / "environments" / recipe(shelf, "greeting").key
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("garbage")
    assert said(made.make(recipe(shelf, "greeting")), "import greeting; print(greeting.VERSION)") == "2.0"


def test_a_build_that_is_killed_leaves_nothing_that_counts(tmp_path: Path, shelf: Path) -> None:
    root = tmp_path / "environments"
    code = (
        "import sys, pathlib; from colonnade.runtimes.environments import Environments, Recipe;"
        "Environments(pathlib.Path(sys.argv[1])).make(Recipe(tuple(sys.argv[2:])))"
    )
    words = recipe(shelf, "greeting")
    process = subprocess.Popen([sys.executable, "-c", code, str(root), *words.lines])
    while not (root / words.key / "bin").exists():
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert said(Environments(root).make(words), "import greeting; print(greeting.VERSION)") == "2.0"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("greeting==9",), "no version of greeting==9"),
        (("greeting==2.0", "caller"), "are incompatible|unsatisfiable"),
        (("absent",), "absent was not found"),
        (("-r other.txt",), "'-r other.txt' names a file"),
        (("-e .",), "'-e .' names a file"),
        (("./wheel.whl",), "names a file"),
        (("/etc/passwd",), "names a file"),
        (("greeting @ file:///x",), "names a file"),
    ],
)
def test_what_cannot_be_made_says_why(tmp_path: Path, shelf: Path, lines: tuple[str, ...], text: str) -> None:
    with pytest.raises(LoadFailed, match=text):
        Environments(tmp_path / "environments").make(recipe(shelf, *lines))


def test_credentials_are_not_told() -> None:
    found = environments._tail("error\nFailed to fetch https://me:secret@host/simple/a/\n")
    assert "secret" not in found
    assert "https://host/simple/a/" in found


def test_unused_environments_go(tmp_path: Path, shelf: Path) -> None:
    made = Environments(tmp_path / "environments")
    used, idle, fresh = (made.make(recipe(shelf, line)) for line in ("greeting==1.0", "greeting==2.0", "caller"))
    for folder in (used, idle):
        os.utime(folder / READY, (1000, 1000))
    broken = tmp_path / "environments" / "broken"
    broken.mkdir()
    building = tmp_path / "environments" / "building"
    building.mkdir()
    with (tmp_path / "environments" / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.prune({used}, ttl=3600)
    assert used.exists()
    assert fresh.exists()
    assert building.exists(), "somebody makes it now"
    assert not idle.exists()
    assert not broken.exists()
    assert said(made.make(recipe(shelf, "greeting==2.0")), "import greeting; print(greeting.VERSION)") == "2.0"


@pytest.mark.parametrize(
    ("lines", "absent", "present"),
    [
        ((), (), ("scikit-learn>=1.5", "numpy>=2.0")),
        (("scikit-learn==1.5.2",), ("scikit-learn>=1.5",), ("numpy>=2.0",)),
        (("Scikit_Learn == 1.5.2",), ("scikit-learn>=1.5",), ()),
        (("numpy==2.1",), ("numpy>=2.0",), ()),
    ],
)
def test_the_server_gets_what_it_needs(
    lines: tuple[str, ...], absent: tuple[str, ...], present: tuple[str, ...]
) -> None:
    found = Recipe(lines, "sklearn").requirements()
    assert found[: len(lines)] == lines
    assert not set(absent) & set(found)
    assert set(present) <= set(found)
    assert Recipe(lines).requirements() == lines


def test_of_packages_that_are_one_module_only_one_comes() -> None:
    assert "xgboost-cpu>=2.1" not in Recipe(("xgboost==2.1.1",), "xgboost").requirements()
    assert "onnxruntime>=1.20" not in Recipe(("onnxruntime-gpu",), "onnx").requirements()


def test_what_the_server_needs_is_what_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    known = {*project["dependencies"], *(each for extra in extras.values() for each in extra)}
    for each in (*SERVER, *(each for needs in ADAPTERS.values() for each in needs)):
        assert each in known, each


@pytest.mark.slow
def test_the_server_in_an_environment_is_the_one_that_runs_here(tmp_path: Path) -> None:
    folder = Environments(tmp_path / "environments").make(Recipe(("scikit-learn==1.5.2",), "sklearn"))
    code = "import colonnade.server.main, sklearn, colonnade; print(sklearn.__version__, colonnade.__path__[0])"
    version, path = said(folder, code).split()
    assert version == "1.5.2"
    assert Path(path).resolve() == Path(colonnade.__file__).parent.resolve()
    assert said(folder, "import importlib.util as u; print(u.find_spec('pytest'))") == "None"
