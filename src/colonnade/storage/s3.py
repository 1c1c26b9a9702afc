"""`s3://BUCKET/PATH`, on AWS or any server that speaks S3, by the variables that KServe's initializer takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import S3Store

from colonnade.errors import LoadFailed
from colonnade.storage import objects
from colonnade.storage.limits import Limits
from colonnade.storage.listed import fetch_listed, scope_of
from colonnade.storage.objects import Place
from colonnade.storage.provider import Order
from colonnade.storage.trust import ca_bundle, is_false, is_true
from colonnade.storage.uri import bucket_and_path, redacted

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential

HINT = "Set AWS_ACCESS_KEY_ID/AWS_SECRET_ACCESS_KEY or use awsAnonymousCredential=true."

_REGION = "us-east-1"
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "awsAnonymousCredential")
_CHAIN = (  # what says that this machine has an identity of its own at AWS
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_INSTANCE = Path("/sys/class/dmi/id/sys_vendor")


def endpoint_of(bucket: str, env: Mapping[str, str]) -> tuple[str, bool]:
    """The server's address for a bucket, and whether it is the bucket's own (virtual-hosted style).

    The rule is that of AWS' SDK, which KServe's initializer uses: AWS itself is asked by the bucket's own host name,
    an endpoint by path unless `S3_USER_VIRTUAL_BUCKET` says otherwise.
    """
    region = region_of(env)
    given = env.get("AWS_ENDPOINT_URL", "").rstrip("/")
    if is_true(env.get("S3_USE_ACCELERATE")):
        return f"https://{bucket}.s3-accelerate.amazonaws.com", True
    if not given or (given == "https://s3.amazonaws.com" and region != _REGION):
        base = f"https://s3.{region}.amazonaws.com"
        virtual = "." not in bucket  # the certificate of AWS covers one label
    else:
        base = given if "://" in given else f"{'http' if is_false(env.get('S3_USE_HTTPS')) else 'https'}://{given}"
        virtual = is_true(env.get("S3_USER_VIRTUAL_BUCKET"))
    scheme, _, host = base.partition("://")
    return (f"{scheme}://{bucket}.{host}", True) if virtual else (base, False)


def region_of(env: Mapping[str, str]) -> str:
    """The region, `us-east-1` unless one is set."""
    return env.get("AWS_DEFAULT_REGION") or env.get("AWS_REGION") or _REGION


def config_of(bucket: str, env: Mapping[str, str]) -> S3Config:
    """The client's settings. Each one that the client would take from the process is set, so that it takes none."""
    endpoint, virtual = endpoint_of(bucket, env)
    return {
        "bucket": bucket,
        "region": region_of(env),
        "aws_endpoint_url_s3": endpoint,
        "virtual_hosted_style_request": virtual,
        "skip_signature": is_true(env.get("awsAnonymousCredential")),
    }


def limits_of(limits: Limits, env: Mapping[str, str]) -> Limits:
    """The limits with the times, tries and connections that the variables ask for.

    Raises:
        LoadFailed: a variable is no number above 0.
    """

    def number(variable: str, default: float) -> float:
        text = env.get(variable)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < 1e6:
            raise LoadFailed(f"{variable} must be a number above 0, not {text!r}")
        return value

    return replace(
        limits,
        connect_timeout=number("S3_CONNECT_TIMEOUT", limits.connect_timeout),
        read_timeout=number("S3_READ_TIMEOUT", limits.read_timeout),
        attempts=int(max(1, number("S3_MAX_ATTEMPTS", limits.attempts))),
        connections=int(max(1, number("S3_MAX_FILE_CONCURRENCY", limits.connections))),
    )


def _credential(env: Mapping[str, str], place: Place) -> S3Credential | None:
    """The keys that the variables hold; None where this machine has an identity of its own at AWS.

    Raises:
        LoadFailed: there are none of either kind.
    """
    if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
        return {
            "access_key_id": env["AWS_ACCESS_KEY_ID"],
            "secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
            "token": env.get("AWS_SESSION_TOKEN") or None,
            "expires_at": None,
        }
    own_identity = any(variable in env for variable in _CHAIN) or _is_instance()
    if own_identity and "AWS_ACCESS_KEY_ID" not in os.environ:  # else the client would take the platform's own keys
        return None
    raise LoadFailed(f"S3 authentication failed. {HINT} ({place.shown}: no credentials came with the service account)")


def _is_instance() -> bool:
    try:
        return _INSTANCE.read_text().startswith("Amazon")
    except OSError:
        return False


def store_of(place: Place, env: Mapping[str, str], limits: Limits) -> S3Store:
    """The client for a bucket.

    Raises:
        LoadFailed: credentials are missing, or the CA bundle is.
    """
    config = config_of(place.bucket, env)
    options = objects.client_options(limits, http=place.endpoint.startswith("http://"))
    if is_false(env.get("S3_VERIFY_SSL")):
        options["allow_invalid_certificates"] = True
    elif bundle := ca_bundle(env, "AWS_CA_BUNDLE"):
        options["root_certificate"] = bundle.read_bytes()
    credential = None if config["skip_signature"] else _credential(env, place)
    if credential is None:
        return S3Store(config=config, client_options=options, retry_config=objects.NO_RETRIES)
    return S3Store(
        config=config,
        client_options=options,
        retry_config=objects.NO_RETRIES,
        credential_provider=lambda: credential,
    )


class S3Provider:
    """Fetches from S3."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the object, or with the objects below the path."""
        bucket, path = bucket_and_path(order.uri)
        env = order.env
        endpoint, _ = endpoint_of(bucket, env)
        place = Place("S3", bucket, path, redacted(order.uri), endpoint, HINT)
        scope = scope_of(endpoint, *(env.get(variable) for variable in _SECRETS))
        scoped = replace(order, limits=limits_of(order.limits, env), scope=scope)
        with objects.reading(place):
            store = store_of(place, env, scoped.limits)
        return fetch_listed(scoped, lambda: objects.parts_at(store, place, order.patterns))
