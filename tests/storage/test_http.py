"""Downloads from a real server: names, limits, credentials, faults on the way, the cache."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from colonnade.errors import LoadFailed
from colonnade.storage.fetch import fetch
from colonnade.storage.http import file_name, host_headers, safe_name
from colonnade.storage.limits import Limits

from .origin import Origin

QUICK = Limits(retry_delay=0.0, read_timeout=2.0)


def visible(cache: Path) -> list[str]:
    """What a reader of the cache can see."""
    artefacts = cache / "artefacts"
    return sorted(entry.name for entry in artefacts.iterdir()) if artefacts.exists() else []


def test_a_file_comes_as_the_only_one_in_its_folder(origin: Origin, tmp_path: Path) -> None:
    body = os.urandom(3 << 20)
    origin.serve("/models/iris%20v1.joblib", body)
    steps: list[tuple[int, int | None]] = []
    folder = fetch(
        origin.url("/models/iris%20v1.joblib?token=secret"), tmp_path, progress=lambda *step: steps.append(step)
    )
    assert [(entry.name, entry.read_bytes()) for entry in folder.iterdir()] == [("iris_v1.joblib", body)]
    assert folder.name.startswith(hashlib.sha256(body).hexdigest())
    assert steps[-1] == (len(body), len(body))
    assert list((tmp_path / "partial").iterdir()) == []
    stored = b"".join(entry.read_bytes() for entry in (tmp_path / "refs").iterdir())
    assert b"secret" not in stored


def test_an_unchanged_file_is_not_sent_twice(origin: Origin, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("If-None-Match") == '"v1"':
            handler.send_response(304)
            handler.end_headers()
            return
        handler.send_response(200)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"model")

    origin.answers["/m.joblib"] = answer
    first = fetch(origin.url("/m.joblib"), tmp_path)
    inode = (first / "m.joblib").stat().st_ino
    assert fetch(origin.url("/m.joblib"), tmp_path) == first
    assert (first / "m.joblib").stat().st_ino == inode
    assert origin.seen[1][1]["if-none-match"] == '"v1"'


def test_a_changed_file_is_a_new_artefact_and_the_old_one_stays_for_who_uses_it(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/m.joblib", b"one", Last_Modified="Mon, 23 Nov 2026 10:00:00 GMT")
    first = fetch(origin.url("/m.joblib"), tmp_path)
    origin.serve("/m.joblib", b"two")
    second = fetch(origin.url("/m.joblib"), tmp_path)
    assert origin.seen[1][1]["if-modified-since"] == "Mon, 23 Nov 2026 10:00:00 GMT"
    assert ((first / "m.joblib").read_bytes(), (second / "m.joblib").read_bytes()) == (b"one", b"two")


def test_a_lost_artefact_is_fetched_again(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/m.joblib", b"one", ETag='"x"')
    folder = fetch(origin.url("/m.joblib"), tmp_path)
    (folder / "m.joblib").unlink()
    folder.rmdir()
    assert (fetch(origin.url("/m.joblib"), tmp_path) / "m.joblib").read_bytes() == b"one"
    assert "if-none-match" not in origin.seen[1][1]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tgz"])
def test_an_archive_is_unpacked(origin: Origin, tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("deep/m.joblib", b"model")
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            info = tarfile.TarInfo("deep/m.joblib")
            info.size = 5
            tar.addfile(info, io.BytesIO(b"model"))
    origin.serve(f"/m.{kind}", buffer.getvalue())
    origin.serve(
        "/download", buffer.getvalue(), Content_Type="application/zip" if kind == "zip" else "application/gzip"
    )
    for path in (f"/m.{kind}", "/download"):
        assert (fetch(origin.url(path), tmp_path) / "deep/m.joblib").read_bytes() == b"model"
    assert len(visible(tmp_path)) == 1, "same bytes, same artefact"


def test_a_hostile_archive_leaves_nothing(origin: Origin, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("good.joblib", b"x")
        archive.writestr("../../evil.joblib", b"x")
    origin.serve("/m.zip", buffer.getvalue())
    with pytest.raises(LoadFailed, match="outside its folder"):
        fetch(origin.url("/m.zip"), tmp_path)
    assert visible(tmp_path) == []
    assert list(tmp_path.rglob("*.joblib")) == []


def test_a_content_encoding_is_taken_off(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/m.joblib", gzip.compress(b"model"), Content_Encoding="gzip")
    assert (fetch(origin.url("/m.joblib"), tmp_path) / "m.joblib").read_bytes() == b"model"


def test_an_endless_content_encoding_meets_the_limit(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/m.joblib", gzip.compress(bytes(4 << 20)), Content_Encoding="gzip")
    with pytest.raises(LoadFailed, match="larger than 1000000 bytes"):
        fetch(origin.url("/m.joblib"), tmp_path, limits=Limits(download_bytes=1_000_000))
    assert visible(tmp_path) == []


@pytest.mark.parametrize("announce", [True, False])
def test_a_file_over_the_limit_is_refused(origin: Origin, tmp_path: Path, announce: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if announce:
            handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(bytes(5000))

    origin.answers["/m.joblib"] = answer
    with pytest.raises(LoadFailed, match="larger than 1000 bytes, the limit"):
        fetch(origin.url("/m.joblib"), tmp_path, limits=Limits(download_bytes=1000))
    assert visible(tmp_path) == []


def test_a_connection_cut_midway_is_tried_again(origin: Origin, tmp_path: Path) -> None:
    tries = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        tries.append(1)
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(bytes(100_000 if len(tries) == 3 else 60_000))

    origin.answers["/m.joblib"] = answer
    folder = fetch(origin.url("/m.joblib"), tmp_path, limits=QUICK)
    assert (folder / "m.joblib").stat().st_size == 100_000
    assert len(tries) == 3


def test_a_connection_always_cut_leaves_nothing_visible(origin: Origin, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(bytes(60_000))

    origin.answers["/m.joblib"] = answer
    with pytest.raises(LoadFailed, match="could not be fetched in 3 tries"):
        fetch(origin.url("/m.joblib?sig=secret"), tmp_path, limits=QUICK)
    assert len(origin.seen) == 3
    assert visible(tmp_path) == []
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_silent_server_is_given_up(origin: Origin, tmp_path: Path) -> None:
    release = threading.Event()
    origin.answers["/m.joblib"] = lambda handler: release.wait(20) and None
    try:
        with pytest.raises(LoadFailed, match="2 tries"):
            fetch(origin.url("/m.joblib"), tmp_path, limits=Limits(read_timeout=0.1, attempts=2, retry_delay=0.0))
    finally:
        release.set()


def test_an_answer_of_503_is_tried_again_and_a_404_is_not(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/busy.joblib", b"", status=503)
    with pytest.raises(LoadFailed, match="answered 503"):
        fetch(origin.url("/busy.joblib"), tmp_path, limits=QUICK)
    assert len(origin.seen) == 3
    with pytest.raises(LoadFailed, match=r"/no\.joblib answered 404: there is nothing"):
        fetch(origin.url("/no.joblib"), tmp_path, limits=QUICK)
    assert len(origin.seen) == 4


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_how_credentials_are_given(origin: Origin, tmp_path: Path, status: int) -> None:
    origin.serve("/m.joblib", b"", status=status)
    with pytest.raises(LoadFailed, match=r"the environment variable 127\.0\.0\.1-headers"):
        fetch(origin.url("/m.joblib"), tmp_path, env={})


def test_a_known_model_survives_a_dead_server(origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    origin.serve("/m.joblib", b"model")
    first = fetch(origin.url("/m.joblib"), tmp_path)
    origin.serve("/m.joblib", b"", status=500)
    assert fetch(origin.url("/m.joblib"), tmp_path, limits=QUICK) == first
    assert "cached copy is used" in caplog.text
    origin.serve("/m.joblib", b"", status=403)
    with pytest.raises(LoadFailed, match="403"):
        fetch(origin.url("/m.joblib"), tmp_path, limits=QUICK)


def test_credentials_go_to_their_host_only(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/target.joblib", b"model")
    origin.serve("/m.joblib", b"", status=302, Location=origin.url("/target.joblib", host="localhost"))
    env = {"127.0.0.1-headers": '{"Authorization": "Bearer secret", "X-Api-Key": "secret"}'}
    fetch(origin.url("/m.joblib"), tmp_path, env=env)
    assert origin.seen[0][1]["authorization"] == "Bearer secret"
    assert "authorization" not in origin.seen[1][1]
    assert "x-api-key" not in origin.seen[1][1]


@pytest.mark.parametrize("text", ["no json", "[1]", '{"a": 1}'])
def test_malformed_credentials_are_refused_unseen(text: str) -> None:
    with pytest.raises(LoadFailed, match="must hold a JSON object") as caught:
        host_headers("h", {"h-headers": text})
    assert text not in caught.value.message


@pytest.mark.parametrize(
    ("location", "text"),
    [("/loop.joblib", "redirects more than 5 times"), ("file:///etc/passwd", "redirects to file:/+etc/passwd")],
)
def test_redirects_are_bounded(origin: Origin, tmp_path: Path, location: str, text: str) -> None:
    origin.serve("/loop.joblib", b"", status=302, Location=location)
    with pytest.raises(LoadFailed, match=text):
        fetch(origin.url("/loop.joblib"), tmp_path)


def test_fetches_at_the_same_time_are_all_whole_and_one_wins(origin: Origin, tmp_path: Path) -> None:
    body = os.urandom(1 << 20)
    gate = threading.Barrier(8, timeout=10)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("If-None-Match"):
            handler.send_response(304)
            handler.end_headers()
            return
        handler.send_response(200)
        handler.send_header("ETag", '"v"')
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    origin.answers["/m.joblib"] = answer

    def one(_: int) -> Path:
        gate.wait()
        return fetch(origin.url("/m.joblib"), tmp_path)

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(one, range(8)))
    assert len(folders) == 1
    assert (folders.pop() / "m.joblib").read_bytes() == body
    assert sum("if-none-match" not in headers for _, headers in origin.seen) == 1, "one download, seven revalidations"


@pytest.mark.parametrize(
    ("url", "headers", "name"),
    [
        ("http://h/a/m.joblib?x=1", {}, "m.joblib"),
        ("http://h/a/%2e%2e%2fevil.pkl", {}, "evil.pkl"),
        ("http://h/dl", {"content-disposition": 'attachment; filename="../../etc/m v.pkl"'}, "m_v.pkl"),
        ("http://h/dl", {"content-disposition": "attachment; filename*=UTF-8''m%2Fod%C3%A9l.pkl"}, "odél.pkl"),
        ("http://h/dl", {"content-type": "application/x-tar; x=y"}, "dl.tar"),
        ("http://h/", {}, "model"),
        ("http://h/...", {}, "model"),
        ("http://h/dl", {"content-disposition": "attachment"}, "dl"),
    ],
)
def test_names_are_taken_from_the_address_or_the_answer(url: str, headers: dict[str, str], name: str) -> None:
    assert file_name(url, headers) == name


def test_a_name_of_any_length_is_a_file_name() -> None:
    assert safe_name("é" * 300 + ".joblib").endswith(".joblib")
    assert len(safe_name("é" * 300 + ".joblib").encode()) <= 255
