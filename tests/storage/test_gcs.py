"""`gs://` over the XML interface, whose list and read calls are those of S3, so that moto's server speaks it.

Moto does not look at Google's tokens; that the client sends one, signed by the service account's key, is held against a
server of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from colonnade.errors import LoadFailed
from colonnade.storage.fetch import fetch
from colonnade.storage.gcs import config_of, endpoint_of
from colonnade.storage.limits import Limits

from .buckets import Buckets, serving, tree
from .origin import Origin

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)
EMPTY = b"<ListBucketResult></ListBucketResult>"


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with serving() as found:
        found.put("open", {"iris/model.joblib": b"model", "iris/a/b.txt": b"words", "iris2/x": b"x"}, public=True)
        found.put("closed", {"iris/model.joblib": b"model"})
        yield found


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def account(key: rsa.RSAPrivateKey) -> str:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {
            "type": "service_account",
            "private_key": pem,
            "private_key_id": "key-1",
            "client_email": "reader@project.iam",
            "token_uri": "http://127.0.0.1:9/never-asked",
        }
    )


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("gs://open/iris", {"model.joblib": b"model", "a/b.txt": b"words"}),
        ("gs://open/iris/a/b.txt", {"b.txt": b"words"}),
        ("gs://open", {"iris/model.joblib": b"model", "iris/a/b.txt": b"words", "iris2/x": b"x"}),
    ],
)
def test_an_open_bucket_needs_no_credentials(
    buckets: Buckets, tmp_path: Path, uri: str, files: dict[str, bytes]
) -> None:
    assert tree(fetch(uri, tmp_path, env={"STORAGE_EMULATOR_HOST": buckets.endpoint})) == files


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("gs://closed/iris", "Access denied to GCS resource 'closed'. Verify permissions."),
        ("gs://closed/iris/model.joblib", "Access denied to GCS resource 'closed'. Verify permissions."),
        ("gs://absent/iris", "GCS bucket 'absent' does not exist."),
        ("gs://open/nothing", "Failed to fetch model. No model found in gs://open/nothing"),
    ],
)
def test_faults_are_told_in_kserves_words(buckets: Buckets, tmp_path: Path, uri: str, text: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        fetch(uri, tmp_path, env={"STORAGE_EMULATOR_HOST": buckets.endpoint}, limits=QUICK)
    assert text in caught.value.message


@pytest.mark.parametrize("form", ["text", "file"])
def test_a_service_account_signs_the_requests(
    origin: Origin, key: rsa.RSAPrivateKey, tmp_path: Path, form: str
) -> None:
    origin.serve("/models", EMPTY, Content_Type="application/xml")
    (tmp_path / "key.json").write_text(account(key))
    env = {
        "text": {"GOOGLE_SERVICE_ACCOUNT_KEY": account(key)},
        "file": {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")},
    }[form]
    with pytest.raises(LoadFailed, match="No model found"):
        fetch("gs://models/iris/", tmp_path, env={**env, "STORAGE_EMULATOR_HOST": origin.url("")}, limits=QUICK)
    kind, _, token = origin.seen[0][1]["authorization"].partition(" ")
    claims = jwt.decode(token, key.public_key(), algorithms=["RS256"], options={"verify_aud": False})
    assert (kind, claims["iss"]) == ("Bearer", "reader@project.iam")


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"GOOGLE_SERVICE_ACCOUNT_KEY": "{"}, "the credentials are no JSON object"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/no/key.json"}, "/no/key.json cannot be read"),
        ({"GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "very-secret"}'}, "GCS"),
    ],
)
def test_credentials_that_are_none_are_refused_and_not_shown(tmp_path: Path, env: dict[str, str], text: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        fetch("gs://models/iris", tmp_path, env={**env, "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}, limits=QUICK)
    assert text in caught.value.message
    assert "very-secret" not in caught.value.message


def test_the_platforms_own_settings_are_not_a_services(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "false")
    origin.serve("/models", EMPTY, Content_Type="application/xml")
    with pytest.raises(LoadFailed, match="No model found"):
        fetch("gs://models/iris/", tmp_path, env={"STORAGE_EMULATOR_HOST": origin.url("")}, limits=QUICK)
    assert "authorization" not in origin.seen[0][1]


def test_the_settings() -> None:
    assert endpoint_of({}) == "https://storage.googleapis.com"
    assert endpoint_of({"STORAGE_EMULATOR_HOST": "localhost:4443"}) == "http://localhost:4443"
    assert config_of("b", {}, None)["skip_signature"]
    assert config_of("b", {}, '{"type": "service_account"}')["service_account_key"] == '{"type": "service_account"}'
    named = {"GOOGLE_APPLICATION_CREDENTIALS": "/user.json"}
    assert config_of("b", named, '{"type": "authorized_user"}')["application_credentials"] == "/user.json"
