"""`s3://` against moto's server: what an address means, credentials, resuming, faults; and the settings as a table."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.fetch import fetch
from colonnade.storage.limits import Limits
from colonnade.storage.s3 import config_of, endpoint_of, limits_of

from .buckets import Buckets, serving, tree
from .origin import Origin

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with serving() as found:
        found.put(
            "models",
            {
                "iris/model.joblib": b"model",
                "iris/deep/er/vocab.txt": b"words",
                "iris/empty": b"",
                "iris/folder/": b"",
                "iris-v2/model.joblib": b"another",
                "both": b"file",
                "both/below": b"folder",
                "odd/a b+%41#?ü.bin": b"odd",
            },
        )
        yield found


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("s3://models/iris", {"model.joblib": b"model", "deep/er/vocab.txt": b"words"}),
        ("s3://models/iris/", {"model.joblib": b"model", "deep/er/vocab.txt": b"words"}),
        ("s3://models/iris/deep", {"er/vocab.txt": b"words"}),
        ("s3://models/iris/model.joblib", {"model.joblib": b"model"}),
        ("s3://models/both", {"both": b"file"}),
        ("s3://models/both/", {"below": b"folder"}),
        ("s3://models/odd", {"a b+%41#?ü.bin": b"odd"}),
        ("s3://models/odd/a b+%41#?ü.bin", {"a b+%41#?ü.bin": b"odd"}),
    ],
)
def test_an_address_is_an_object_or_the_folder_below_it(
    buckets: Buckets, tmp_path: Path, uri: str, files: dict[str, bytes]
) -> None:
    assert tree(fetch(uri, tmp_path, env=buckets.env)) == files


def test_patterns_choose_among_many_files_and_not_the_one_that_is_named(buckets: Buckets, tmp_path: Path) -> None:
    env = {**buckets.env, "STORAGE_ALLOW_PATTERNS": '["*.txt"]'}
    assert list(tree(fetch("s3://models/iris", tmp_path, env=env))) == ["deep/er/vocab.txt"]
    assert list(tree(fetch("s3://models/iris/model.joblib", tmp_path, env=env))) == ["model.joblib"]
    with pytest.raises(LoadFailed, match="No model found in s3://models/iris: there are no files that the allow and"):
        fetch("s3://models/iris", tmp_path, env={**buckets.env, "STORAGE_IGNORE_PATTERNS": "*"})


def test_an_archive_that_is_the_only_file_is_unpacked(buckets: Buckets, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("model/weights.bin")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    buckets.put("packed", {"one/model.tar.gz": packed.getvalue(), "two/model.tar.gz": packed.getvalue(), "two/b": b"b"})
    assert tree(fetch("s3://packed/one", tmp_path, env=buckets.env)) == {"model/weights.bin": b"abc"}
    assert sorted(tree(fetch("s3://packed/two", tmp_path, env=buckets.env))) == ["b", "model.tar.gz"]


def test_what_is_unchanged_is_not_fetched_again_and_what_changed_is(buckets: Buckets, tmp_path: Path) -> None:
    buckets.put("moving", {"m/a": b"1", "m/b": b"2"})
    first = fetch("s3://moving/m", tmp_path, env=buckets.env)
    steps: list[tuple[int, int | None]] = []
    assert fetch("s3://moving/m", tmp_path, env=buckets.env, progress=lambda *step: steps.append(step)) == first
    assert steps == []
    buckets.put("moving", {"m/a": b"new"})
    second = fetch("s3://moving/m", tmp_path, env=buckets.env, progress=lambda *step: steps.append(step))
    assert tree(second) == {"a": b"new", "b": b"2"}
    assert tree(first) == {"a": b"1", "b": b"2"}
    assert steps[-1] == (4, 4)


class Proxy:
    """Stands between the client and the server; cuts the answers to reads of one object after some bytes."""

    def __init__(self, origin: Origin, target: str, path: str, cuts: int) -> None:
        self.ranges: list[str] = []
        self._cuts = cuts
        self._lock = threading.Lock()
        origin.answers[path] = lambda handler: self._pass(handler, target)

    def _pass(self, handler: BaseHTTPRequestHandler, target: str) -> None:
        wanted = handler.headers.get("Range", "")
        with self._lock:
            self.ranges.append(wanted)
            cut = self._cuts > 0
            self._cuts -= 1
        answer = httpx.get(f"{target}{handler.path}", headers={"Range": wanted} if wanted else {})
        handler.send_response(answer.status_code)
        for name in ("Content-Length", "Content-Range", "ETag", "Last-Modified"):
            if name in answer.headers:
                handler.send_header(name, answer.headers[name])
        handler.end_headers()
        handler.wfile.write(answer.content[: 2 << 20] if cut else answer.content)
        handler.close_connection = True


def test_a_cut_connection_is_gone_on_from_where_it_was(buckets: Buckets, origin: Origin, tmp_path: Path) -> None:
    body = os.urandom(5 << 20)
    buckets.put("big", {"m/big.bin": body, "m/small.bin": b"s"}, public=True)
    listing = httpx.get(f"{buckets.endpoint}/big?list-type=2&prefix=m/").content
    origin.serve("/big", listing, Content_Type="application/xml")
    proxy = Proxy(origin, buckets.endpoint, "/big/m/big.bin", cuts=2)
    Proxy(origin, buckets.endpoint, "/big/m/small.bin", cuts=0)
    env = {"AWS_ENDPOINT_URL": origin.url(""), "awsAnonymousCredential": "true"}
    assert tree(fetch("s3://big/m/", tmp_path, env=env, limits=QUICK)) == {"big.bin": body, "small.bin": b"s"}
    starts = sorted(int(found.removeprefix("bytes=").partition("-")[0]) for found in proxy.ranges)
    assert len(starts) == 3
    assert starts[1] > 0, "it did not begin again"


@pytest.mark.parametrize(
    ("uri", "changes", "text"),
    [
        ("s3://absent/m", {}, "S3 bucket 'absent' does not exist. Correct the storageUri s3://absent/m"),
        ("s3://models/nothing", {}, "Failed to fetch model. No model found in s3://models/nothing"),
        (
            "s3://models/iris",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "S3 authentication failed. Set AWS_ACCESS_KEY_ID/AWS_SECRET_ACCESS_KEY or use awsAnonymousCredential=true.",
        ),
        ("s3://models/iris", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Failed to connect to S3 endpoint"),
        ("s3://models/iris", {"AWS_CA_BUNDLE": "/no/ca.crt"}, "Failed to find ca bundle file(/no/ca.crt)."),
        ("s3://models/iris", {"S3_READ_TIMEOUT": "soon"}, "S3_READ_TIMEOUT must be a number above 0, not 'soon'"),
    ],
)
def test_faults_are_told_in_kserves_words(
    buckets: Buckets, tmp_path: Path, uri: str, changes: dict[str, str], text: str
) -> None:
    with pytest.raises(LoadFailed) as caught:
        fetch(uri, tmp_path, env={**buckets.env, **changes}, limits=QUICK)
    assert text in caught.value.message
    assert "very-secret" not in caught.value.message


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("AccessDenied", "Access denied to S3 resource 'models'. Verify permissions."),
        ("InvalidAccessKeyId", "Invalid AWS credentials. Verify AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."),
        ("SignatureDoesNotMatch", "Invalid AWS credentials. Verify AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."),
    ],
)
def test_refusals_are_told_in_kserves_words(origin: Origin, tmp_path: Path, code: str, text: str) -> None:
    body = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    origin.serve("/models", body, status=403)
    env = {"AWS_ENDPOINT_URL": origin.url(""), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "very-secret"}
    with pytest.raises(LoadFailed) as caught:
        fetch("s3://models/iris/", tmp_path, env=env, limits=QUICK)
    assert text in caught.value.message
    assert "very-secret" not in caught.value.message
    assert len(origin.seen) == 1, "a refusal is not asked for twice"


def test_an_unreachable_server_leaves_what_these_credentials_fetched_before(buckets: Buckets, tmp_path: Path) -> None:
    with serving() as passing:
        passing.put("models", {"iris/m": b"model"})
        env = passing.env
        first = fetch("s3://models/iris", tmp_path, env=env)
    assert fetch("s3://models/iris", tmp_path, env=env, limits=QUICK) == first
    with pytest.raises(LoadFailed, match="Failed to connect"):
        fetch("s3://models/iris", tmp_path, env={**env, "AWS_ACCESS_KEY_ID": "somebody"}, limits=QUICK)


def test_the_platforms_own_keys_are_not_a_services(
    buckets: Buckets, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "platform")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "platform")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(LoadFailed, match="S3 authentication failed"):
        fetch("s3://models/iris", tmp_path, env={"AWS_ENDPOINT_URL": buckets.endpoint})
    origin.serve("/models", b"<ListBucketResult></ListBucketResult>")
    with pytest.raises(LoadFailed, match="No model found"):
        fetch("s3://models/iris/", tmp_path, env={**buckets.env, "AWS_ENDPOINT_URL": origin.url("")})
    assert "Credential=known/" in origin.seen[0][1]["authorization"]


@pytest.mark.parametrize("uri", ["s3://", "s3:///model", "s3://user:key@bucket/x"])
def test_an_address_without_a_bucket_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InvalidInput, match="names no bucket"):
        fetch(uri, tmp_path, env={})


@pytest.mark.parametrize(
    ("env", "endpoint", "virtual"),
    [
        ({}, "https://models.s3.us-east-1.amazonaws.com", True),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://models.s3.eu-west-1.amazonaws.com", True),
        ({"AWS_ENDPOINT_URL": "https://minio:9000/"}, "https://minio:9000", False),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "https://minio:9000", False),
        ({"AWS_ENDPOINT_URL": "minio:9000", "S3_USE_HTTPS": "0"}, "http://minio:9000", False),
        ({"AWS_ENDPOINT_URL": "https://s3.host", "S3_USER_VIRTUAL_BUCKET": "True"}, "https://models.s3.host", True),
        ({"S3_USE_ACCELERATE": "true"}, "https://models.s3-accelerate.amazonaws.com", True),
        ({"AWS_ENDPOINT_URL": "https://s3.amazonaws.com"}, "https://s3.amazonaws.com", False),
        (
            {"AWS_ENDPOINT_URL": "https://s3.amazonaws.com", "AWS_DEFAULT_REGION": "eu-west-1"},
            "https://models.s3.eu-west-1.amazonaws.com",
            True,
        ),
    ],
)
def test_the_address_of_a_bucket(env: Mapping[str, str], endpoint: str, virtual: bool) -> None:
    assert endpoint_of("models", env) == (endpoint, virtual)
    config = config_of("models", env)
    assert (config["aws_endpoint_url_s3"], config["virtual_hosted_style_request"]) == (endpoint, virtual)


def test_a_bucket_with_dots_is_asked_by_path() -> None:
    assert endpoint_of("my.models", {}) == ("https://s3.us-east-1.amazonaws.com", False)


def test_times_and_tries_are_the_variables() -> None:
    variables = {"S3_CONNECT_TIMEOUT": "1", "S3_READ_TIMEOUT": "2.5", "S3_MAX_ATTEMPTS": "7"}
    limits = limits_of(Limits(), {**variables, "S3_MAX_FILE_CONCURRENCY": "9"})
    assert (limits.connect_timeout, limits.read_timeout, limits.attempts, limits.connections) == (1.0, 2.5, 7, 9)
    assert limits_of(Limits(), {}) == Limits()
