"""`hdfs://` and `webhdfs://` from a small server of the REST interface."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.security.certificates import ensure
from colonnade.storage.fetch import fetch
from colonnade.storage.limits import Limits
from colonnade.storage.webhdfs import cluster_of, path_of

from .buckets import tree
from .webhdfs_server import WebHdfs

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)
WEIGHTS = os.urandom(3 << 20)


@pytest.fixture
def hdfs() -> Iterator[WebHdfs]:
    server = WebHdfs({"/user/me/iris/model.bin": WEIGHTS, "/user/me/iris/a/ü b%.txt": b"words", "/user/me/x": b"x"})
    yield server
    server.close()


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
@pytest.mark.parametrize(
    ("path", "root", "files"),
    [
        ("user/me/iris", "", {"model.bin": WEIGHTS, "a/ü b%.txt": b"words"}),
        ("user/me/iris/model.bin", "", {"model.bin": WEIGHTS}),
        ("iris/a", "/user/me", {"ü b%.txt": b"words"}),
    ],
)
def test_a_file_or_a_folder(
    hdfs: WebHdfs, tmp_path: Path, scheme: str, path: str, root: str, files: dict[str, bytes]
) -> None:
    env = {"HDFS_NAMENODE": f"{hdfs.node}/", "HDFS_ROOTPATH": root}
    assert tree(fetch(f"{scheme}://{path}", tmp_path, env=env)) == files


def test_a_large_file_comes_in_ranges(hdfs: WebHdfs, tmp_path: Path) -> None:
    found = fetch(
        "hdfs://user/me/iris/model.bin",
        tmp_path,
        env={"HDFS_NAMENODE": hdfs.node},
        limits=Limits(segment_bytes=1 << 20),
    )
    assert (found / "model.bin").read_bytes() == WEIGHTS
    assert len([path for host, path, _ in hdfs.seen if host.startswith("localhost") and "offset=" in path]) == 3


def test_the_secrets_folder_says_where_and_who(hdfs: WebHdfs, tmp_path: Path) -> None:
    hdfs.header = ("Authorization", "Bearer very-secret")
    values = {"HDFS_NAMENODE": hdfs.node, "USER_PROXY": "me", "HEADERS": '{"Authorization": "Bearer very-secret"}'}
    for name, value in values.items():
        (tmp_path / name).write_text(value)
    found = fetch("hdfs://user/me/x", tmp_path / "cache", env={"HDFS_SECRET_DIR": str(tmp_path)})
    assert tree(found) == {"x": b"x"}
    own = [(path, headers) for host, path, headers in hdfs.seen if host.startswith("127.0.0.1")]
    assert all("doas=me" in path for path, _ in own)
    other = [headers for host, _, headers in hdfs.seen if host.startswith("localhost")]
    assert other
    assert all("authorization" not in headers for headers in other), "the data node is another host"


def test_what_is_unchanged_is_not_read_again(hdfs: WebHdfs, tmp_path: Path) -> None:
    env = {"HDFS_NAMENODE": hdfs.node}
    first = fetch("hdfs://user/me/iris", tmp_path, env=env)
    hdfs.seen.clear()
    assert fetch("hdfs://user/me/iris", tmp_path, env=env) == first
    assert [path for _, path, _ in hdfs.seen if "op=OPEN" in path] == []
    hdfs.changed, hdfs.files["/user/me/iris/a/ü b%.txt"] = 2, b"other"
    assert tree(fetch("hdfs://user/me/iris", tmp_path, env=env)) == {"model.bin": WEIGHTS, "a/ü b%.txt": b"other"}


def test_patterns_choose(hdfs: WebHdfs, tmp_path: Path) -> None:
    env = {"HDFS_NAMENODE": hdfs.node, "STORAGE_ALLOW_PATTERNS": "*.bin"}
    assert list(tree(fetch("hdfs://user/me/iris", tmp_path, env=env))) == ["model.bin"]


@pytest.mark.parametrize(
    ("path", "env", "text"),
    [
        ("user/me/none", {}, "HDFS resource '/user/me/none' not found"),
        ("user/me/x", {"HDFS_NAMENODE": ""}, "set HDFS_NAMENODE to the name node's http address"),
        ("user/me/x", {"HDFS_NAMENODE": "hdfs://host:8020"}, "set HDFS_NAMENODE to the name node's http address"),
        ("user/me/x", {"HDFS_NAMENODE": "http://127.0.0.1:9"}, "could not be fetched in 3 tries"),
        ("user/me/x", {"KERBEROS_PRINCIPAL": "me@REALM"}, "Kerberos is not spoken here"),
        ("user/me/x", {"HEADERS": "very-secret"}, "HEADERS must be a JSON object"),
        ("user/me/x", {"TLS_CA": "very-secret"}, "TLS_CERT, TLS_KEY or TLS_CA is no PEM text"),
    ],
)
def test_faults_are_told(hdfs: WebHdfs, tmp_path: Path, path: str, env: dict[str, str], text: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        fetch(f"hdfs://{path}", tmp_path, env={"HDFS_NAMENODE": hdfs.node, **env}, limits=QUICK)
    assert text in caught.value.message
    assert "very-secret" not in caught.value.message


def test_a_closed_cluster_is_told_in_kserves_words(hdfs: WebHdfs, tmp_path: Path) -> None:
    hdfs.header = ("X-Token", "t")
    with pytest.raises(LoadFailed, match="Access denied to HDFS resource '/user/me/x'"):
        fetch("hdfs://user/me/x", tmp_path, env={"HDFS_NAMENODE": hdfs.node}, limits=QUICK)


@pytest.mark.parametrize("uri", ["hdfs://", "hdfs:///", "hdfs://a/../b", "hdfs://a\0b"])
def test_addresses_that_name_nothing(uri: str) -> None:
    with pytest.raises(InvalidInput, match="names no path"):
        path_of(uri, "")


def test_certificates_are_text_or_base64(tmp_path: Path) -> None:
    files = ensure(tmp_path)
    text = {"TLS_CERT": files.cert_path.read_text(), "TLS_KEY": files.key_path.read_text()}
    packed = {name: base64.b64encode(value.encode()).decode() for name, value in text.items()}
    for env in (text, packed):
        cluster = cluster_of({"HDFS_NAMENODE": "https://node", "TLS_CA": files.ca_pem.decode(), **env})
        assert cluster.context({}).cert_store_stats()["x509_ca"] > 0
        assert cluster.certificate == (text["TLS_CERT"].encode(), text["TLS_KEY"].encode())
