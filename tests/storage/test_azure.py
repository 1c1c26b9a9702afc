"""Azure blobs: addresses and credentials as tables; fetching from Microsoft's emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.azure import Address, address_of, is_blob, is_file_share
from colonnade.storage.fetch import check_uri, fetch
from colonnade.storage.limits import Limits
from colonnade.storage.uri import SchemeNotServed

from .azurite import Azurite, serving
from .buckets import tree
from .origin import Origin

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)
BLOB = "https://devstoreaccount1.blob.core.windows.net"
EMPTY = b"<?xml version='1.0'?><EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>"


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("https://acc.blob.core.windows.net/c/a/b", Address("acc", "acc.blob.core.windows.net", "c", "a/b")),
        ("https://ACC.blob.core.windows.net/c", Address("acc", "acc.blob.core.windows.net", "c", "")),
        (
            "https://acc.z12.blob.storage.azure.net/c/a%20b?sv=1&sig=s",
            Address("acc", "acc.z12.blob.storage.azure.net", "c", "a b", "sv=1&sig=s"),
        ),
        ("abfss://c@acc.dfs.core.windows.net/a/b", Address("acc", "acc.blob.core.windows.net", "c", "a/b")),
        ("abfs://c/a/b", Address("named", "named.blob.core.windows.net", "c", "a/b")),
    ],
)
def test_addresses(uri: str, address: Address) -> None:
    assert address_of(uri, {"AZURE_STORAGE_ACCOUNT_NAME": "named"}) == address


@pytest.mark.parametrize("uri", ["https://acc.blob.core.windows.net/", "abfs://c/a", "abfss://@acc.dfs/x"])
def test_an_address_without_account_or_container_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="names no container"):
        address_of(uri, {})


def test_which_addresses_are_azures() -> None:
    assert is_blob("https://acc.blob.core.windows.net/c/x")
    assert not is_blob("https://acc.blob.core.windows.net.evil.example/c/x")
    assert not is_blob("https://evil.example/https://acc.blob.core.windows.net/c/x")
    assert is_file_share("https://acc.file.core.windows.net/share/x")
    with pytest.raises(SchemeNotServed, match="file shares are not fetched"):
        check_uri("https://acc.file.core.windows.net/share/x?sig=secret")


def _token(handler: BaseHTTPRequestHandler) -> None:
    body = json.dumps({"access_token": "the-token", "expires_in": 3600}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize("prefix", ["AZURE", "AZ"])
def test_an_application_gets_a_token_and_uses_it(origin: Origin, tmp_path: Path, prefix: str) -> None:
    origin.answers["/tenant/oauth2/v2.0/token"] = _token
    origin.serve("/models", EMPTY, Content_Type="application/xml")
    env = {
        f"{prefix}_TENANT_ID": "tenant",
        f"{prefix}_CLIENT_ID": "client",
        f"{prefix}_CLIENT_SECRET": "very-secret",
        "AZURE_AUTHORITY_HOST": origin.url(""),
        "AZURE_STORAGE_ENDPOINT": origin.url(""),
    }
    with pytest.raises(LoadFailed, match="No model found"):
        fetch(f"{BLOB}/models/iris/", tmp_path, env=env, limits=QUICK)
    form, listing = origin.seen
    assert form[0] == "/tenant/oauth2/v2.0/token"
    assert listing[1]["authorization"] == "Bearer the-token"


def test_an_application_that_is_refused_is_told_so(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/tenant/oauth2/v2.0/token", b'{"error": "invalid_client"}', status=401)
    env = {
        "AZURE_TENANT_ID": "tenant",
        "AZURE_CLIENT_ID": "client",
        "AZURE_CLIENT_SECRET": "very-secret",
        "AZURE_AUTHORITY_HOST": origin.url(""),
        "AZURE_STORAGE_ENDPOINT": origin.url(""),
    }
    with pytest.raises(LoadFailed, match="Azure authentication failed") as caught:
        fetch(f"{BLOB}/models/iris/", tmp_path, env=env, limits=QUICK)
    assert "very-secret" not in caught.value.message


def test_a_signature_in_the_address_is_used_and_not_shown(origin: Origin, tmp_path: Path) -> None:
    origin.serve("/models", b"<Error><Code>AuthenticationFailed</Code></Error>", status=403)
    env = {"AZURE_STORAGE_ENDPOINT": origin.url("")}
    with pytest.raises(LoadFailed, match="Access denied to Azure resource 'models'") as caught:
        fetch(f"{BLOB}/models/iris/?sv=2021&sig=very-secret", tmp_path, env=env, limits=QUICK)
    assert "sig=very-secret" in origin.seen[0][0]
    assert "very-secret" not in caught.value.message


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with serving(tmp_path_factory.mktemp("azurite")) as found:
        blobs = {"iris/model.joblib": b"model", "iris/a b/ü%41.txt": b"words", "iris2/x": b"x"}
        found.put("models", blobs)
        found.put("open", blobs, public=True)
        yield found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "files"),
    [
        (f"{BLOB}/models/iris", {"model.joblib": b"model", "a b/ü%41.txt": b"words"}),
        (f"{BLOB}/models/iris/a%20b", {"ü%41.txt": b"words"}),
        (f"{BLOB}/models/iris/model.joblib", {"model.joblib": b"model"}),
        ("abfss://models@devstoreaccount1.dfs.core.windows.net/iris2", {"x": b"x"}),
    ],
)
def test_blobs_come_with_the_accounts_key(azurite: Azurite, tmp_path: Path, uri: str, files: dict[str, bytes]) -> None:
    assert tree(fetch(uri, tmp_path, env=azurite.env)) == files


@pytest.mark.slow
def test_an_open_container_needs_no_credentials(azurite: Azurite, tmp_path: Path) -> None:
    env = {"AZURE_STORAGE_ENDPOINT": azurite.endpoint}
    assert tree(fetch(f"{BLOB}/open/iris2", tmp_path, env=env)) == {"x": b"x"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "key", "text"),
    [
        (f"{BLOB}/models/iris", "", "Access denied to Azure resource 'models'"),
        (f"{BLOB}/models/iris", "bm9wZQ==", "Access denied to Azure resource 'models'"),
        (f"{BLOB}/models/nothing", None, "No model found"),
        (f"{BLOB}/absent/iris", None, "Azure bucket 'absent' does not exist"),
    ],
)
def test_faults_of_the_service(azurite: Azurite, tmp_path: Path, uri: str, key: str | None, text: str) -> None:
    env = azurite.env if key is None else {**azurite.env, "AZURE_STORAGE_ACCESS_KEY": key}
    with pytest.raises(LoadFailed) as caught:
        fetch(uri, tmp_path, env=env, limits=QUICK)
    assert text in caught.value.message
