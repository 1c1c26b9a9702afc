"""What `oci://` URIs name, and which credentials of a Docker config are for them."""

from __future__ import annotations

import base64
import json

import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.layers import is_layer
from colonnade.storage.oci_reference import Reference, login_of, reference_of

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("kserve/model:v1", Reference("docker.io", "kserve/model", "v1")),
        ("model", Reference("docker.io", "library/model", "latest")),
        ("docker.io/model", Reference("docker.io", "library/model", "latest")),
        ("index.docker.io/a/b:c", Reference("docker.io", "a/b", "c")),
        ("quay.example/a/b/c", Reference("quay.example", "a/b/c", "latest")),
        ("localhost/a", Reference("localhost", "a", "latest")),
        ("host:5000/a:v", Reference("host:5000", "a", "v")),
        ("[::1]:5000/a", Reference("[::1]:5000", "a", "latest")),
        (f"host.example/a:v@{DIGEST}", Reference("host.example", "a", DIGEST)),
        (f"a/b@{DIGEST}", Reference("docker.io", "a/b", DIGEST)),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    for scheme in ("oci", "oci+native", "oci+fetch"):
        assert reference_of(f"{scheme}://{text}") == reference


@pytest.mark.parametrize(
    "text",
    ["", "UPPER/x", "a/b:", "a/b@", "a/b@sha256:short", "a//b", "a/../b", "host.example/", "a b", "a:b:c", "a@b@c"],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidInput, match="oci://HOST/NAME"):
        reference_of(f"oci://{text}")


def test_where_plain_http_is_the_custom() -> None:
    assert [reference_of(f"oci://{host}/a").is_local for host in ("localhost:5000", "127.0.0.1:1", "[::1]:2")] == [
        True
    ] * 3
    assert not reference_of("oci://127.evil.example/a").is_local
    assert not reference_of("oci://registry.example:5000/a").is_local


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("auths", "uri", "login"),
    [
        ({"h.io": {"auth": packed("u:p:q")}}, "oci://h.io/a", ("u", "p:q")),
        ({"https://h.io": {"auth": packed("u:p")}}, "oci://h.io/a", ("u", "p")),
        ({"h.io": {"username": "u", "password": "p"}}, "oci://h.io/a", ("u", "p")),
        ({"h.io": {"auth": packed("u:p")}, "h.io/a": {"auth": packed("x:y")}}, "oci://h.io/a", ("x", "y")),
        ({"h.io:5000": {"auth": packed("u:p")}}, "oci://h.io/a", None),
        ({"https://index.docker.io/v1/": {"auth": packed("u:p")}}, "oci://me/a", ("u", "p")),
        ({"h.io": {"credHelper": "x"}}, "oci://h.io/a", None),
        ({}, "oci://h.io/a", None),
    ],
)
def test_logins(auths: dict[str, object], uri: str, login: tuple[str, str] | None) -> None:
    assert login_of(reference_of(uri), {"DOCKER_AUTH_CONFIG": json.dumps({"auths": auths})}) == login


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', '{"auths": {"h.io": {"auth": "very-secret!"}}}'])
def test_a_config_that_is_none_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(LoadFailed, match="Docker config") as caught:
        login_of(reference_of("oci://h.io/a"), {"DOCKER_AUTH_CONFIG": text})
    assert "very-secret" not in caught.value.message
    assert login_of(reference_of("oci://h.io/a"), {"KSERVE_OCI_DOCKER_CONFIG": "/no/file"}) is None


@pytest.mark.parametrize(
    ("kind", "is_one"),
    [
        ("application/vnd.oci.image.layer.v1.tar", True),
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        ("application/vnd.in-toto+json", False),
        ("application/octet-stream", False),
    ],
)
def test_which_blobs_are_layers(kind: str, is_one: bool) -> None:
    assert is_layer(kind) is is_one
