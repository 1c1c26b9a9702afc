"""`gs://BUCKET/PATH`: Google Cloud Storage, by a service account's key, this machine's identity, or anonymously."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import GCSStore

from colonnade.errors import LoadFailed
from colonnade.storage import objects
from colonnade.storage.limits import Limits
from colonnade.storage.listed import fetch_listed, scope_of
from colonnade.storage.objects import Place
from colonnade.storage.provider import Order
from colonnade.storage.trust import ca_bundle
from colonnade.storage.uri import bucket_and_path, redacted

if TYPE_CHECKING:
    from obstore.store import GCSConfig

HINT = "Verify GOOGLE_APPLICATION_CREDENTIALS or use anonymous access."

_ENDPOINT = "https://storage.googleapis.com"
_PRODUCT = Path("/sys/class/dmi/id/product_name")


def endpoint_of(env: Mapping[str, str]) -> str:
    """The server's address; `STORAGE_EMULATOR_HOST` is that of Google's own libraries."""
    given = env.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    if not given:
        return _ENDPOINT
    return given if "://" in given else f"http://{given}"


def key_text(env: Mapping[str, str]) -> str | None:
    """The credentials' JSON text, of the variable that holds it or of the file that one names; None without either.

    Raises:
        LoadFailed: the file cannot be read, or the text is no JSON object; the content is not shown.
    """
    text = env.get("GOOGLE_SERVICE_ACCOUNT_KEY")
    named = env.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not text and named:
        try:
            text = Path(named).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise LoadFailed(f"GCS authentication failed. {HINT} ({named} cannot be read: {error})") from None
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise LoadFailed(f"GCS authentication failed. {HINT} (the credentials are no JSON object)")
    return text


def _own_identity() -> bool:
    """Whether this machine is one of Google's, which has credentials of its own."""
    try:
        return _PRODUCT.read_text().startswith("Google")
    except OSError:
        return False


def config_of(bucket: str, env: Mapping[str, str], key: str | None) -> GCSConfig:
    """The client's settings. KServe's rule: without credentials, access is anonymous."""
    config: GCSConfig = {"bucket": bucket, "base_url": endpoint_of(env), "skip_signature": False}
    if key is None:
        config["skip_signature"] = not _own_identity()
    elif json.loads(key).get("type") == "authorized_user" and "GOOGLE_APPLICATION_CREDENTIALS" in env:
        config["application_credentials"] = env["GOOGLE_APPLICATION_CREDENTIALS"]
    else:
        config["service_account_key"] = key
    return config


def store_of(place: Place, env: Mapping[str, str], limits: Limits, key: str | None) -> GCSStore:
    """The client for a bucket.

    Raises:
        LoadFailed: the credentials are unusable, or the CA bundle is missing.
    """
    options = objects.client_options(limits, http=place.endpoint.startswith("http://"))
    if bundle := ca_bundle(env):
        options["root_certificate"] = bundle.read_bytes()
    with objects.reading(place):
        return GCSStore(
            config=config_of(place.bucket, env, key), client_options=options, retry_config=objects.NO_RETRIES
        )


class GcsProvider:
    """Fetches from Google Cloud Storage."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the object, or with the objects below the path."""
        bucket, path = bucket_and_path(order.uri)
        place = Place("GCS", bucket, path, redacted(order.uri), endpoint_of(order.env), HINT)
        key = key_text(order.env)
        store = store_of(place, order.env, order.limits, key)
        scoped = replace(order, scope=scope_of(place.endpoint, key))
        return fetch_listed(scoped, lambda: objects.parts_at(store, place, order.patterns))
