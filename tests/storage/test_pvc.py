"""`pvc://`: a named folder of this machine, which a path cannot leave."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.fetch import fetch
from colonnade.storage.volumes import Volumes, named_volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    (tmp_path / "named/iris").mkdir(parents=True)
    (tmp_path / "named/iris/model.joblib").write_bytes(b"named")
    (tmp_path / "root/mine").mkdir(parents=True)
    (tmp_path / "root/mine/model.joblib").write_bytes(b"root")
    (tmp_path / "secret").write_bytes(b"secret")
    return Volumes({"models": tmp_path / "named"}, tmp_path / "root")


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("pvc://models", "named"),
        ("pvc://models/", "named"),
        ("pvc://models/iris", "named/iris"),
        ("pvc://models/iris/model.joblib", "named/iris/model.joblib"),
        ("pvc://models/iris/../iris", "named/iris"),
        ("pvc://mine/model.joblib", "root/mine/model.joblib"),
    ],
)
def test_a_path_in_a_claim_is_used_where_it_lies(tmp_path: Path, volumes: Volumes, uri: str, place: str) -> None:
    assert fetch(uri, tmp_path / "cache", volumes=volumes) == tmp_path / place
    assert not (tmp_path / "cache").exists()


def test_an_archive_in_a_claim_stays_one(tmp_path: Path, volumes: Volumes) -> None:
    with tarfile.open(tmp_path / "named/model.tar", "w") as tar:
        tar.add(tmp_path / "secret", "x")
    assert fetch("pvc://models/model.tar", tmp_path / "cache", volumes=volumes) == tmp_path / "named/model.tar"


@pytest.mark.parametrize(
    "path", ["../secret", "iris/../../secret", "evil", "evil-folder/secret", "%2e%2e/secret", "/etc"]
)
def test_a_path_cannot_leave_the_claim(tmp_path: Path, volumes: Volumes, path: str) -> None:
    (tmp_path / "named/evil").symlink_to(tmp_path / "secret")
    (tmp_path / "named/evil-folder").symlink_to(tmp_path)
    with pytest.raises(LoadFailed, match=r"leaves the claim's folder|there is no"):
        fetch(f"pvc://models/{path}", tmp_path / "cache", volumes=volumes)


@pytest.mark.parametrize("claim", ["absent", "..", ".", "", "UPPER", "a/../.."])
def test_a_claim_that_is_not_there_is_told_with_the_fix(tmp_path: Path, volumes: Volumes, claim: str) -> None:
    with pytest.raises(LoadFailed, match=r"--pvc absent=DIR, or make the folder|names no claim|leaves|there is no"):
        fetch(f"pvc://{claim}", tmp_path / "cache", volumes=volumes)


def test_without_volumes_there_are_no_claims(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="there is no volume for the claim 'models'; start the platform with --pvc"):
        fetch("pvc://models/iris", tmp_path / "cache")


def test_volumes_are_named_by_words(tmp_path: Path) -> None:
    words = [f"models={tmp_path}", f"team/models={tmp_path}", f"other={tmp_path}"]
    assert named_volumes(words) == {
        "default": {"models": tmp_path, "other": tmp_path},
        "team": {"models": tmp_path},
    }


@pytest.mark.parametrize("word", ["models", "=x", "models=", "UP=/tmp", "a/b/c=/tmp", "../x=/tmp", "models=/no/folder"])
def test_words_that_name_no_volume_are_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="--pvc"):
        named_volumes([word])


def test_a_claim_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="names the claim models of default twice"):
        named_volumes([f"models={tmp_path}", f"default/models={tmp_path}"])
