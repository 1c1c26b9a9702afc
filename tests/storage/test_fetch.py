"""`fetch` over local paths, the refusal texts, and the seam for schemes."""

from __future__ import annotations

import contextlib
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import Error, InvalidInput, LoadFailed
from colonnade.resources.served import SCHEMES
from colonnade.storage import fetch as door
from colonnade.storage.azure import AzureProvider
from colonnade.storage.fetch import check_uri, fetch, provider_of, schemes
from colonnade.storage.gcs import GcsProvider
from colonnade.storage.git import GitProvider
from colonnade.storage.http import HttpProvider
from colonnade.storage.hub import HubProvider
from colonnade.storage.local import LocalProvider
from colonnade.storage.oci import OciProvider
from colonnade.storage.provider import Order, Provider
from colonnade.storage.pvc import PvcProvider
from colonnade.storage.s3 import S3Provider
from colonnade.storage.uri import SchemeNotServed, redacted, scheme_of
from colonnade.storage.webhdfs import WebHdfsProvider


def test_a_path_comes_back_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my models %41"
    folder.mkdir()
    (folder / "m.joblib").write_bytes(b"x")
    cache = tmp_path / "cache"
    assert fetch(str(folder), cache) == folder
    assert fetch(str(folder / "m.joblib"), cache) == folder / "m.joblib"
    assert fetch(f"file://{tmp_path}/my%20models%20%2541", cache) == folder
    assert fetch(f"file://localhost{tmp_path}/my%20models%20%2541", cache) == folder
    monkeypatch.chdir(tmp_path)
    assert fetch("my models %41", cache) == folder
    assert fetch("file://my%20models%20%2541", cache) == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch("~/my models %41", cache) == folder
    assert not cache.exists(), "a local path costs nothing"


def test_a_missing_path_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed) as caught:
        fetch(f"file://{tmp_path}/nothing", tmp_path / "cache")
    assert str(tmp_path / "nothing") in caught.value.message
    assert "give the path of a model file or folder" in caught.value.message


def test_a_local_archive_is_unpacked_into_the_cache_once(tmp_path: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(b"model")
    path = tmp_path / "m.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "m.joblib", "m.joblib")
    first = fetch(str(path), tmp_path / "cache")
    assert (first / "m.joblib").read_bytes() == b"model"
    inode = (first / "m.joblib").stat().st_ino
    second = fetch(str(path), tmp_path / "cache")
    assert (second / "m.joblib").stat().st_ino == inode


def test_a_broken_archive_leaves_nothing_visible(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(LoadFailed, match="damaged"):
        fetch(str(path), tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*-unpacked")) == []
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


@pytest.mark.parametrize("uri", ["ftp://host/x", "weird+scheme://x", "S9://x"])
def test_an_unknown_scheme_is_refused_in_kserves_words(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_uri(uri)
    assert caught.value.message.startswith("storageUri, must be one of: [gs://, s3://, pvc://, file://, https://, ")
    assert caught.value.message.endswith(
        "or match https://{}.blob.core.windows.net/{}/{} or be an absolute or relative local path. "
        f"StorageUri [{uri}] is not supported"
    )


def test_a_scheme_of_kserve_that_is_not_fetched_says_so() -> None:
    with pytest.raises(SchemeNotServed, match="does not fetch") as caught:
        check_uri("modelscope://owner/model")
    assert caught.value.status == 501


@pytest.mark.parametrize(
    ("uri", "provider"),
    [
        ("/models/iris", LocalProvider),
        ("http://host/m.tar.gz", HttpProvider),
        ("https://host/m.tar.gz", HttpProvider),
        ("https://acc.blob.core.windows.net/c/m", AzureProvider),
        ("https://acc.z1.blob.storage.azure.net/c/m", AzureProvider),
        ("abfss://c@acc.dfs.core.windows.net/m", AzureProvider),
        ("https://host/team/iris.git", GitProvider),
        ("http://host/team/iris.git", HttpProvider),
        ("s3://bucket/m", S3Provider),
        ("gs://bucket/m", GcsProvider),
        ("hf://owner/model", HubProvider),
        ("oci+native://host.example/m", OciProvider),
        ("pvc://claim/m", PvcProvider),
        ("webhdfs://user/m", WebHdfsProvider),
    ],
)
def test_who_fetches_what(uri: str, provider: type[Provider]) -> None:
    check_uri(uri)
    assert type(provider_of(uri)) is provider


@given(st.text(max_size=60), st.sampled_from([*schemes(), "modelscope", "ftp", ""]))
def test_any_text_is_taken_or_refused_with_an_error_of_ours(rest: str, scheme: str) -> None:
    with contextlib.suppress(Error):
        check_uri(f"{scheme}://{rest}" if scheme else rest)


@pytest.mark.parametrize("uri", ["", "file://", "file://\0", "a\0b"])
def test_an_empty_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="names no path"):
        check_uri(uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:secret@host:8/a/b?token=secret#secret", "https://host:8/a/b"),
        ("http://[bad/?token=secret", "http://..."),
        ("/plain/path", "/plain/path"),
    ],
)
def test_secrets_are_left_out_of_what_is_shown(uri: str, shown: str) -> None:
    assert redacted(uri) == shown


def test_schemes_and_paths() -> None:
    assert schemes() == SCHEMES, "what admission says is what is fetched"
    assert scheme_of("FILE:///x") == "file"
    assert scheme_of("C:\\x") == ""
    assert scheme_of("models/a") == ""


def test_the_registry_is_the_seam_for_a_further_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shelf:
        def fetch(self, order: Order) -> Path:
            return tmp_path / order.uri.removeprefix("s3://")

    monkeypatch.setitem(door.PROVIDERS, "s3", Shelf)
    assert fetch("s3://bucket/model", tmp_path) == tmp_path / "bucket/model"
    assert "s3" in schemes()
