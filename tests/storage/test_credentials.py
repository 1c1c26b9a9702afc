"""Secrets to variables, by KServe's keys and annotations."""

from __future__ import annotations

import json

import pytest

from colonnade.errors import LoadFailed
from colonnade.storage.credentials import key_of_block, of_block, of_secret, over

P = "<scheme-placeholder>"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}


def annotated(**found: str) -> dict[str, str]:
    return {f"serving.kserve.io/s3-{name.replace('_', '-')}": value for name, value in found.items()}


@pytest.mark.parametrize(
    ("data", "annotations", "env"),
    [
        (KEYS, {}, KEYS),
        ({"awsAccessKeyID": "id", "awsSecretAccessKey": "key"}, {}, KEYS),
        (
            KEYS,
            annotated(endpoint="minio:9000", usehttps="0", region="us-east-2", verifyssl="0"),
            {
                **KEYS,
                "S3_ENDPOINT": "minio:9000",
                "AWS_ENDPOINT_URL": "http://minio:9000",
                "S3_USE_HTTPS": "0",
                "AWS_DEFAULT_REGION": "us-east-2",
                "S3_VERIFY_SSL": "0",
            },
        ),
        (
            KEYS,
            annotated(endpoint="s3.amazonaws.com", usevirtualbucket="1", useaccelerate="1", useanoncredential="true"),
            {
                **KEYS,
                "S3_ENDPOINT": "s3.amazonaws.com",
                "AWS_ENDPOINT_URL": "https://s3.amazonaws.com",
                "S3_USER_VIRTUAL_BUCKET": "1",
                "S3_USE_ACCELERATE": "1",
                "awsAnonymousCredential": "true",
            },
        ),
        (
            KEYS,
            annotated(cabundle="/ca.crt", cabundle_configmap="authorities"),
            {**KEYS, "AWS_CA_BUNDLE": "/ca.crt", "AWS_CA_BUNDLE_CONFIGMAP": "authorities"},
        ),
        ({"gcloud-application-credentials.json": "{}"}, {}, {"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}),
        (
            {"AZ_CLIENT_ID": "c", "AZ_TENANT_ID": "t", "AZ_CLIENT_SECRET": "s", "AZ_SUBSCRIPTION_ID": "u"},
            {},
            {
                "AZURE_CLIENT_ID": "c",
                "AZURE_TENANT_ID": "t",
                "AZURE_CLIENT_SECRET": "s",
                "AZURE_SUBSCRIPTION_ID": "u",
            },
        ),
        ({"AZURE_STORAGE_ACCESS_KEY": "k"}, {}, {"AZURE_STORAGE_ACCESS_KEY": "k"}),
        ({"https-host": "h.example", "headers": '{"A": "b"}'}, {}, {"h.example-headers": '{"A": "b"}'}),
        ({"https-host": "h.example"}, {}, {}),
        ({"HF_TOKEN": "hf_x"}, {}, {"HF_TOKEN": "hf_x"}),
        (
            {"HDFS_NAMENODE": "http://n", "KERBEROS_KEYTAB": "k"},
            {},
            {"HDFS_NAMENODE": "http://n", "KERBEROS_KEYTAB": "k"},
        ),
        ({".dockerconfigjson": "{}"}, {}, {"DOCKER_AUTH_CONFIG": "{}"}),
        ({"password": "x", "PATH": "/evil", "LD_PRELOAD": "evil.so"}, {}, {}),
    ],
)
def test_a_secret_becomes_variables(data: dict[str, str], annotations: dict[str, str], env: dict[str, str]) -> None:
    assert of_secret(data, annotations) == env


S3 = {"type": "s3", "access_key_id": "id", "secret_access_key": "key", "endpoint_url": "http://m:9000", "bucket": "b"}
ENV = {**KEYS, "AWS_ENDPOINT_URL": "http://m:9000"}


@pytest.mark.parametrize(
    ("uri", "entry", "parameters", "found", "env"),
    [
        (f"{P}://a/b", S3, {}, "s3://b/a/b", ENV),
        (f"{P}://a/b", S3, {"bucket": "other"}, "s3://other/a/b", ENV),
        (f"{P}://a", {**S3, "verify_ssl": False}, {}, "s3://b/a", {**ENV, "S3_VERIFY_SSL": "false"}),
        (f"{P}://a", {**S3, "anonymous": "True"}, {}, "s3://b/a", {**ENV, "awsAnonymousCredential": "True"}),
        (f"{P}://a", None, {"type": "s3", "bucket": "b", "region": "r"}, "s3://b/a", {"AWS_DEFAULT_REGION": "r"}),
        ("s3://c/d", S3, {}, "s3://c/d", ENV),
        (f"{P}://a", {"type": "webhdfs", "HDFS_NAMENODE": "n"}, {}, "webhdfs://a", {"HDFS_NAMENODE": "n"}),
    ],
)
def test_a_storage_block_says_where_and_how(
    uri: str, entry: dict[str, object] | None, parameters: dict[str, str], found: str, env: dict[str, str]
) -> None:
    text = None if entry is None else json.dumps(entry)
    assert of_block(uri, P, "storage-config", "k", text, parameters) == (found, env)


@pytest.mark.parametrize(
    ("entry", "parameters", "text"),
    [
        (None, {}, "unable to determine storage type"),
        ('{"type": "s3"}', {}, r"format \[s3\] requires a bucket but one wasn't found in storage data or parameters"),
        ('{"type": "ftp"}', {}, r"storage type must be one of \[s3, hdfs, webhdfs\]. storage type \[ftp\] is not supp"),
        ("hunter2", {}, "invalid json encountered in key k of storage secret storage-config"),
        ('{"type": {"hunter2": 1}}', {}, "invalid json encountered in key k"),
    ],
)
def test_a_block_that_leads_nowhere_is_refused_in_kserves_words(
    entry: str | None, parameters: dict[str, str], text: str
) -> None:
    with pytest.raises(LoadFailed, match=text) as caught:
        of_block(f"{P}://a", P, "storage-config", "k", entry, parameters)
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("key", "parameters", "found"),
    [("", {}, "default"), ("", {"type": "s3"}, "default_s3"), ("mine", {"type": "s3"}, "mine")],
)
def test_the_key_of_a_block(key: str, parameters: dict[str, str], found: str) -> None:
    assert key_of_block(key, parameters) == found


def test_a_secrets_key_is_never_paired_with_the_machines_token() -> None:
    machine = {"AWS_SESSION_TOKEN": "theirs", "AWS_ACCESS_KEY_ID": "theirs", "HF_TOKEN": "theirs", "PATH": "/bin"}
    assert over(machine, {}) == machine
    assert over(machine, KEYS) == {**KEYS, "HF_TOKEN": "theirs", "PATH": "/bin"}
