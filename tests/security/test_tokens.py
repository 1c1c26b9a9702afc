"""Bearer tokens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from colonnade.errors import InvalidInput
from colonnade.security import tokens


def test_a_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = tokens.load_or_create(file)
    assert len(token) >= 40
    assert tokens.load_or_create(str(file)) == token
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert tokens.load_or_create(tmp_path / "other") != token


def test_all_who_start_together_get_the_same_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: tokens.load_or_create(tmp_path / "token"), range(64)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_an_open_file_is_made_private(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-the-user-1234\n")
    file.chmod(0o644)
    assert tokens.load_or_create(file) == "a-token-of-the-user-1234"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short", b"two tokens in one file", b"\xff" * 40, b"a" * 20 + b"\0" + b"b" * 20]
)
def test_a_useless_file_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="delete the file") as raised:
        tokens.load_or_create(file)
    assert not content.strip() or content.decode("latin-1").strip() not in str(raised.value)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer  abc ", b"abc"),
        (b"Basic abc", None),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"", None),
        (None, None),
    ],
)
def test_bearer(header: bytes | None, token: bytes | None) -> None:
    assert tokens.bearer(header) == token


def test_matches() -> None:
    assert tokens.matches(b"abc", "abc")
    assert tokens.matches("abc", b"abc")
    assert not tokens.matches(b"abd", "abc")
    assert not tokens.matches(b"", "abc")
    assert not tokens.matches(None, "abc")
    assert not tokens.matches("\xe4", "abc")
