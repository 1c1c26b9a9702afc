"""Folders that stand in for remote places."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.mirror import mirror_of


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("all/iris/m.joblib", "all/a b/m", "special/m.joblib", "secret/m"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "all/out").symlink_to(tmp_path / "secret")
    return tmp_path


def test_the_longest_prefix_wins_on_whole_parts(place: Path) -> None:
    mirror = mirror_of([f"gs://bucket={place}/all", f"gs://bucket/iris/special/={place}/special"])
    assert mirror.find("gs://bucket") == place / "all"
    assert mirror.find("gs://bucket/iris/") == place / "all/iris"
    assert mirror.find("gs://bucket/a%20b") == place / "all/a b"
    assert mirror.find("gs://bucket/iris/m.joblib?versionId=1") == place / "all/iris/m.joblib"
    assert mirror.find("gs://bucket/iris/special/m.joblib") == place / "special/m.joblib"
    assert mirror.find("gs://bucket2/iris") is None
    assert mirror.find("s3://bucket/iris") is None
    assert mirror.find("/bucket/iris") is None


@pytest.mark.parametrize("path", ["../secret/m", "out/m", "iris/../../secret/m", "%2e%2e/secret/m", "%2e%2e%2fsecret"])
def test_a_uri_does_not_lead_out_of_the_folder(place: Path, path: str) -> None:
    with pytest.raises(LoadFailed, match=r"refused|has no"):
        mirror_of([f"gs://bucket={place}/all"]).find(f"gs://bucket/{path}")


def test_what_is_missing_is_named(place: Path) -> None:
    with pytest.raises(LoadFailed, match=r"mirrors gs://bucket, has no 'nothing'; put it there"):
        mirror_of([f"gs://bucket={place}/all"]).find("gs://bucket/nothing?sig=secret")


@pytest.mark.parametrize(
    "word", ["gs://bucket", "=/tmp", "gs://bucket=", "/local=/tmp", "file:///x=/tmp", "gs://=/tmp", "gs://b=/no/where"]
)
def test_a_malformed_word_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="--mirror"):
        mirror_of([word])


def test_a_prefix_has_one_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="twice"):
        mirror_of([f"gs://b={tmp_path}", f"gs://b/={tmp_path}"])
