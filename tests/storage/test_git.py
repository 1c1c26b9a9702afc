"""`https://….git` from git's own server program, over TLS that only a given authority vouches for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.errors import LoadFailed
from colonnade.security.certificates import ensure
from colonnade.storage.fetch import fetch
from colonnade.storage.git import is_repository
from colonnade.storage.git_lfs import Pointer, pointer_in
from colonnade.storage.limits import Limits

from .buckets import tree
from .git_server import GitServer

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    files = ensure(tmp_path / "tls")
    (tmp_path / "git").mkdir()
    found = GitServer(tmp_path / "git", files.cert_path, files.key_path)
    yield found
    found.close()


@pytest.fixture
def env(server: GitServer, tmp_path: Path) -> dict[str, str]:
    return {"GIT_SSL_CAINFO": str(ensure(tmp_path / "tls").ca_path)}


def test_the_newest_commit_of_the_default_branch(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    server.commit("iris", {"model.joblib": b"old", "gone.txt": b"x"})
    server.commit("iris", {"model.joblib": b"new", "deep/ü.txt": b"words", "link": ("link", "deep/ü.txt")})
    folder = fetch(server.url("iris"), tmp_path / "cache", env=env)
    assert tree(folder) == {"model.joblib": b"new", "gone.txt": b"x", "deep/ü.txt": b"words", "link": b"words"}
    assert (folder / "link").is_symlink()


def test_a_commit_that_is_known_is_not_sent_again(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    server.commit("iris", {"model.joblib": b"one"})
    first = fetch(server.url("iris"), tmp_path / "cache", env=env)
    server.seen.clear()
    assert fetch(server.url("iris"), tmp_path / "cache", env=env) == first
    asked = len(server.seen)
    server.commit("iris", {"model.joblib": b"two"})
    second = fetch(server.url("iris"), tmp_path / "cache", env=env)
    assert (tree(first), tree(second)) == ({"model.joblib": b"one"}, {"model.joblib": b"two"})
    assert len(server.seen) - asked > asked


def test_user_and_password_open_a_closed_repository(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    server.commit("iris", {"model.joblib": b"model"})
    server.login = "me:very-secret"
    secrets = {"GIT_USERNAME": "me", "GIT_PASSWORD": "very-secret"}
    assert tree(fetch(server.url("iris"), tmp_path / "a", env={**env, **secrets})) == {"model.joblib": b"model"}
    secrets = {"GIT_PASSWORD": "very-secret"}
    assert tree(fetch(server.url("iris", "me@"), tmp_path / "b", env={**env, **secrets})) == {"model.joblib": b"model"}
    stored = b"".join(path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert b"very-secret" not in stored


@pytest.mark.parametrize("secrets", [{}, {"GIT_USERNAME": "me", "GIT_PASSWORD": "wrong-secret"}])
def test_a_closed_repository_is_told_in_kserves_words(
    server: GitServer, env: dict[str, str], tmp_path: Path, secrets: dict[str, str]
) -> None:
    server.commit("iris", {"model.joblib": b"model"})
    server.login = "me:very-secret"
    with pytest.raises(LoadFailed, match=r"Git authentication failed\. Set GIT_USERNAME/GIT_PASSWORD or") as caught:
        fetch(server.url("iris", "somebody:in-the-url@" if not secrets else ""), tmp_path, env={**env, **secrets})
    assert "secret" not in caught.value.message
    assert "in-the-url" not in caught.value.message


def test_large_files_come_from_git_lfs(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    weights = os.urandom(2 << 20)
    attributes = b"*.bin filter=lfs diff=lfs merge=lfs -text\n"
    pointer = server.pointer(weights)
    server.commit("iris", {"a.bin": pointer, "b/same.bin": pointer, ".gitattributes": attributes})
    server.login = "me:very-secret"
    found = fetch(
        server.url("iris"), tmp_path / "cache", env={**env, "GIT_USERNAME": "me", "GIT_PASSWORD": "very-secret"}
    )
    assert tree(found) == {"a.bin": weights, "b/same.bin": weights, ".gitattributes": attributes}


def test_large_files_that_are_not_there_or_damaged_are_refused(
    server: GitServer, env: dict[str, str], tmp_path: Path
) -> None:
    pointer = server.pointer(b"weights")
    server.commit("iris", {"a.bin": pointer})
    digest = next(iter(server.large))
    server.large[digest] = b"stthgie"
    with pytest.raises(LoadFailed, match="damaged"):
        fetch(server.url("iris"), tmp_path / "cache", env=env, limits=QUICK)
    server.large.clear()
    with pytest.raises(LoadFailed, match="keeps files in Git LFS that its server does not have"):
        fetch(server.url("iris"), tmp_path / "cache", env=env, limits=QUICK)


def test_a_link_out_of_the_repository_is_refused(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    server.commit("iris", {"model.joblib": b"x", "evil": ("link", "/etc/passwd")})
    with pytest.raises(LoadFailed, match="'evil', which leaves its folder"):
        fetch(server.url("iris"), tmp_path / "cache", env=env)
    assert not (tmp_path / "cache/artefacts").exists()


def test_patterns_choose(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    server.commit("iris", {"model.joblib": b"x", "readme.md": b"y", "docs/a.md": b"z"})
    found = fetch(server.url("iris"), tmp_path / "cache", env={**env, "STORAGE_IGNORE_PATTERNS": "*.md"})
    assert list(tree(found)) == ["model.joblib"]
    with pytest.raises(LoadFailed, match="No model found"):
        fetch(server.url("iris"), tmp_path / "cache", env={**env, "STORAGE_ALLOW_PATTERNS": "*.onnx"})


@pytest.mark.parametrize("limits", [Limits(unpacked_files=2), Limits(unpacked_bytes=100)])
def test_a_tree_that_is_too_large_is_refused_before_it_is_written(
    server: GitServer, env: dict[str, str], tmp_path: Path, limits: Limits
) -> None:
    server.commit("iris", {f"{number}.txt": b"x" * 50 for number in range(3)})
    with pytest.raises(LoadFailed, match="the limits for one model"):
        fetch(server.url("iris"), tmp_path / "cache", env=env, limits=limits)


def test_settings_and_hooks_of_this_machine_are_not_used(
    server: GitServer, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.commit("iris", {"model.joblib": b"x"})
    home, mark = tmp_path / "home", tmp_path / "hook-ran"
    home.mkdir()
    (home / "hooks").mkdir()
    hook = home / "hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\nhooksPath = {home}/hooks\n[url "file:///nowhere/"]\ninsteadOf = https://127.0.0.1\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert tree(fetch(server.url("iris"), tmp_path / "cache", env=env)) == {"model.joblib": b"x"}
    assert not mark.exists()


def test_faults_of_the_server(server: GitServer, env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"Git resource 'https://127\.0\.0\.1:[0-9]+/absent\.git' not found"):
        fetch(server.url("absent"), tmp_path / "cache", env=env, limits=QUICK)
    with pytest.raises(LoadFailed, match="Failed to connect to Git endpoint"):
        fetch("https://127.0.0.1:9/x.git", tmp_path / "cache", env=env, limits=QUICK)
    with pytest.raises(LoadFailed, match="certificate"):
        fetch(server.url("absent"), tmp_path / "cache", env={}, limits=QUICK)


@pytest.mark.parametrize(
    ("uri", "is_one"),
    [
        ("https://host/a/b.git", True),
        ("https://user@host/b.git?x=1", True),
        ("http://host/b.git", False),
        ("https://host/b.git/file", False),
        ("https://host/b.gitx", False),
        ("/local/b.git", False),
    ],
)
def test_which_addresses_are_cloned(uri: str, is_one: bool) -> None:
    assert is_repository(uri) is is_one


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n",
            Pointer("a" * 64, 12),
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\next-0-x sha256:b\noid sha256:" + b"a" * 64 + b"\nsize 1\n",
            Pointer("a" * 64, 1),
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:zz\nsize 12\n", None),
        (b"", None),
    ],
)
def test_pointers(text: bytes, pointer: Pointer | None) -> None:
    assert pointer_in(text) == pointer
