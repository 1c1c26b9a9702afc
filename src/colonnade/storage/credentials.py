"""Secrets to the variables that a fetch reads, by KServe's keys and annotations. Pure: texts in, variables out.

Sources: KServe's `pkg/credentials` (which key of a secret means which cloud) and its initializer (the variables).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from colonnade.errors import LoadFailed

STORAGE_TYPES = ("s3", "hdfs", "webhdfs")  # of a storage secret that KServe takes
DEFAULT_KEY = "default"
CA_CONFIG_MAP = "AWS_CA_BUNDLE_CONFIGMAP"

_PREFIX = "serving.kserve.io/"
_S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "awsAccessKeyID": "AWS_ACCESS_KEY_ID",
    "awsSecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN": "AWS_SESSION_TOKEN",
}
_S3_ANNOTATIONS = {
    "s3-usehttps": "S3_USE_HTTPS",
    "s3-endpoint": "S3_ENDPOINT",
    "s3-region": "AWS_DEFAULT_REGION",
    "s3-verifyssl": "S3_VERIFY_SSL",
    "s3-usevirtualbucket": "S3_USER_VIRTUAL_BUCKET",
    "s3-useaccelerate": "S3_USE_ACCELERATE",
    "s3-useanoncredential": "awsAnonymousCredential",
    "s3-cabundle": "AWS_CA_BUNDLE",
    "s3-cabundle-configmap": CA_CONFIG_MAP,
}
_GCS_FILE = "gcloud-application-credentials.json"
_AZURE_KEYS = (
    "SUBSCRIPTION_ID",
    "TENANT_ID",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "STORAGE_ACCESS_KEY",
    "ACCESS_TOKEN",
    "ACCESS_EXPIRES_ON_SECONDS",
    "ACCOUNT_NAME",
    "SERVICE_URL",
)
_AS_THEY_ARE = ("HF_TOKEN", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN", "GIT_USERNAME", "GIT_PASSWORD")
_HDFS_MARK = "HDFS_NAMENODE"
_DOCKER_CONFIG = ".dockerconfigjson"
_BLOCK_VARIABLES = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_DEFAULT_REGION",
    "ca_bundle": "AWS_CA_BUNDLE",
    "cabundle_configmap": CA_CONFIG_MAP,
    "verify_ssl": "S3_VERIFY_SSL",
    "anonymous": "awsAnonymousCredential",
}
_FAMILIES = (  # variables that make sense together only: one that a secret sets hides the machine's own of the family
    ("AWS_", "S3_", "awsAnonymousCredential"),
    ("GOOGLE_",),
    ("AZURE_", "AZ_"),
    ("GIT_",),
    ("HDFS_", "KERBEROS_", "TLS_", "USER_PROXY"),
    ("DOCKER_AUTH_CONFIG", "KSERVE_OCI_DOCKER_CONFIG"),
)


class Located(NamedTuple):
    """Where a `storage` block points, and the variables to get there."""

    uri: str
    env: dict[str, str]


def of_secret(data: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, str]:
    """The variables that a secret of a service account stands for; none if it is for something else."""
    env: dict[str, str] = {}
    if any(key in data for key in ("AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey")):
        env |= {variable: data[key] for key, variable in _S3_KEYS.items() if key in data}
        env |= _s3_annotations(annotations)
    if _GCS_FILE in data:
        env["GOOGLE_SERVICE_ACCOUNT_KEY"] = data[_GCS_FILE]
    for key in _AZURE_KEYS:
        if (value := data.get(f"AZ_{key}", data.get(f"AZURE_{key}"))) is not None:
            env[f"AZURE_{key}"] = value
    if "https-host" in data and "headers" in data:
        env[f"{data['https-host'].strip()}-headers"] = data["headers"]
    if _HDFS_MARK in data:
        env |= {key: value for key, value in data.items() if key.replace("_", "").isalnum()}
    if _DOCKER_CONFIG in data:
        env["DOCKER_AUTH_CONFIG"] = data[_DOCKER_CONFIG]
    return env | {key: data[key] for key in _AS_THEY_ARE if key in data}


def _s3_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    env = {
        variable: annotations[_PREFIX + name]
        for name, variable in _S3_ANNOTATIONS.items()
        if annotations.get(_PREFIX + name)
    }
    if endpoint := env.get("S3_ENDPOINT"):
        scheme = "http" if env.get("S3_USE_HTTPS") == "0" else "https"
        env["AWS_ENDPOINT_URL"] = f"{scheme}://{endpoint}"
    return env


def key_of_block(key: str, parameters: Mapping[str, str]) -> str:
    """Which key of the storage secret a block means."""
    kind = parameters.get("type", "")
    return key or (f"{DEFAULT_KEY}_{kind}" if kind else DEFAULT_KEY)


def of_block(
    uri: str, placeholder: str, secret: str, key: str, entry: str | None, parameters: Mapping[str, str]
) -> Located:
    """Resolve a `storage` block.

    Args:
        uri: the path behind `placeholder` as the scheme, or a URI of its own.
        placeholder: the scheme that stands for "as the secret says".
        secret: the storage secret's name, for messages.
        key: the key in it.
        entry: what it holds there, a JSON object; None if there is nothing.
        parameters: those of the manifest; they win over the entry's.

    Raises:
        LoadFailed: KServe's text on what is missing or wrong; values of the secret are not shown.
    """
    stated = _entry(secret, key, entry)
    if "type" in stated and "type" not in parameters and stated["type"] not in STORAGE_TYPES:
        raise LoadFailed(
            f"storage type must be one of [{', '.join(STORAGE_TYPES)}]. "
            f"storage type [{stated['type']}] is not supported"
        )
    found = {**stated, **parameters}
    scheme, _, path = uri.partition("://")
    if scheme == placeholder:
        scheme = found.get("type", "")
        if not scheme:
            raise LoadFailed(
                f"unable to determine storage type: give `type` in storage.parameters, or in the key {key} of "
                f"secret {secret}"
            )
        uri = f"{scheme}://{path}"
        if scheme == "s3":
            if not found.get("bucket"):
                raise LoadFailed("format [s3] requires a bucket but one wasn't found in storage data or parameters")
            uri = f"s3://{found['bucket']}/{path}"
    if scheme in ("hdfs", "webhdfs"):
        return Located(uri, {name: value for name, value in found.items() if name not in ("type", "bucket")})
    return Located(uri, {variable: found[name] for name, variable in _BLOCK_VARIABLES.items() if name in found})


def _entry(secret: str, key: str, text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
        raise LoadFailed(
            f"invalid json encountered in key {key} of storage secret {secret}: it must be an object of texts"
        )
    return {
        str(name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in found.items()
        if value is not None
    }


def over(machine: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a fetch: what the secrets give, over what this machine's own environment has.

    A key of a secret is never paired with a token of the machine's: where one variable of a family is given, the
    machine's others are left out.
    """
    hidden = tuple(
        prefix for family in _FAMILIES if any(name.startswith(family) for name in given) for prefix in family
    )
    kept = {name: value for name, value in machine.items() if not (hidden and name.startswith(hidden))}
    return {**kept, **given}
