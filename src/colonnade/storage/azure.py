"""Azure blobs: `https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH`, and the `abfs[s]://` addresses of data lakes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import httpx
from obstore.store import AzureStore

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage import objects
from colonnade.storage.limits import Limits
from colonnade.storage.listed import fetch_listed, scope_of
from colonnade.storage.objects import Place
from colonnade.storage.parts import TryAgain
from colonnade.storage.provider import Order
from colonnade.storage.trust import ca_bundle, tls_context
from colonnade.storage.uri import redacted

if TYPE_CHECKING:
    from obstore.store import AzureConfig, AzureCredential

HINT = "Verify AZURE_CLIENT_ID/AZURE_CLIENT_SECRET or AZURE_STORAGE_ACCESS_KEY."

_BLOB_HOST = r"([a-z0-9-]+)\.(?:blob\.core\.windows\.net|z[0-9]{1,2}\.blob\.storage\.azure\.net)"
_BLOB = re.compile(rf"https://({_BLOB_HOST})/([^/?#]+)/?([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_FILE = re.compile(
    r"https://[^/]+\.(?:file\.core\.windows\.net|z[0-9]{1,2}\.file\.storage\.azure\.net)/", re.IGNORECASE
)
_LAKE = re.compile(r"abfss?://(?:([^/@?#]+)@([a-z0-9-]+)\.[^/?#]+|([^/@?#]+))/?([^?#]*)", re.IGNORECASE)
_SECRETS = ("AZURE_CLIENT_ID", "AZ_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZ_CLIENT_SECRET", "AZURE_STORAGE_ACCESS_KEY")
_AUTHORITY = "https://login.microsoftonline.com"
_AUDIENCE = "https://storage.azure.com/.default"


def is_blob(uri: str) -> bool:
    """Whether an `https://` address is that of a blob container (KServe's rule)."""
    return _BLOB.match(uri) is not None


def is_file_share(uri: str) -> bool:
    """Whether an `https://` address is that of an Azure file share."""
    return _FILE.match(uri) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """What a URI says. `signature` is the query of a shared access signature, or empty."""

    account: str
    host: str
    container: str
    path: str
    signature: str = ""


def address_of(uri: str, env: Mapping[str, str]) -> Address:
    """Take an address apart; percent signs in an `https://` one are decoded, as in any URL.

    Raises:
        InvalidInput: it names no account or no container.
    """
    if blob := _BLOB.fullmatch(uri):
        host, account, container, path, query = blob.groups()
        return Address(account.lower(), host.lower(), unquote(container), unquote(path), query or "")
    lake = _LAKE.fullmatch(uri)
    if lake is not None:
        account = lake.group(2) or env.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        if account:
            container = lake.group(1) or lake.group(3)
            return Address(account.lower(), f"{account.lower()}.blob.core.windows.net", container, lake.group(4))
    raise InvalidInput(
        f"storageUri {redacted(uri)} names no container; write https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH "
        "or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
    )


@dataclass(frozen=True, slots=True)
class Principal:
    """A registered application that may read blobs."""

    tenant: str
    client: str
    secret: str
    authority: str

    def token(self, env: Mapping[str, str], limits: Limits) -> tuple[str, datetime]:
        """A bearer token and when it ends (OAuth 2.0, client credentials).

        Raises:
            TryAgain: the authority does not answer.
            LoadFailed: it refuses.
        """
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client,
            "client_secret": self.secret,
            "scope": _AUDIENCE,
        }
        url = f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
        try:
            with httpx.Client(verify=tls_context(env), timeout=limits.read_timeout) as client:
                answer = client.post(url, data=form)
        except httpx.HTTPError as error:
            raise TryAgain(f"Failed to connect to Azure endpoint '{self.authority}'. {error}") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise TryAgain(f"Azure endpoint '{self.authority}' answered {answer.status_code}")
        try:
            found = answer.json()
            return str(found["access_token"]), datetime.now(UTC) + timedelta(seconds=float(found["expires_in"]))
        except (ValueError, KeyError, TypeError):
            raise LoadFailed(
                f"Azure authentication failed. {HINT} (the authority answered {answer.status_code} to client "
                f"{self.client!r} of tenant {self.tenant!r})"
            ) from None


def principal_of(env: Mapping[str, str]) -> Principal | None:
    """The application that the variables name, under their newer or older names."""
    tenant, client, secret = (
        env.get(f"AZURE_{name}") or env.get(f"AZ_{name}", "") for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")
    )
    if not (tenant and client and secret):
        return None
    return Principal(tenant, client, secret, env.get("AZURE_AUTHORITY_HOST", _AUTHORITY).rstrip("/"))


def _credentials(address: Address, env: Mapping[str, str], limits: Limits) -> Callable[[], AzureCredential] | None:
    """What signs requests: the application, else the account's key, else the signature in the address; or nothing."""
    if principal := principal_of(env):

        def bearer() -> AzureCredential:
            token, until = principal.token(env, limits)
            return {"token": token, "expires_at": until}

        return bearer
    if key := env.get("AZURE_STORAGE_ACCESS_KEY"):
        return lambda: {"access_key": key, "expires_at": None}
    if address.signature:
        return lambda: {"sas_token": parse_qsl(address.signature), "expires_at": None}
    return None


def endpoint_of(address: Address, env: Mapping[str, str]) -> str:
    """The server's address; `AZURE_STORAGE_ENDPOINT` names another one, such as an emulator's."""
    return env.get("AZURE_STORAGE_ENDPOINT", "").rstrip("/") or f"https://{address.host}"


def store_of(place: Place, address: Address, env: Mapping[str, str], limits: Limits) -> AzureStore:
    """The client for a container. Without credentials access is anonymous, as KServe has it."""
    credentials = _credentials(address, env, limits)
    config: AzureConfig = {
        "account_name": address.account,
        "container_name": address.container,
        "endpoint": place.endpoint,
        "use_emulator": False,
        "skip_signature": credentials is None,
    }
    options = objects.client_options(limits, http=place.endpoint.startswith("http://"))
    if bundle := ca_bundle(env):
        options["root_certificate"] = bundle.read_bytes()
    with objects.reading(place):
        if credentials is None:
            return AzureStore(config=config, client_options=options, retry_config=objects.NO_RETRIES)
        return AzureStore(
            config=config, client_options=options, retry_config=objects.NO_RETRIES, credential_provider=credentials
        )


class AzureProvider:
    """Fetches from Azure blob containers."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the blob, or with the blobs below the path."""
        address = address_of(order.uri, order.env)
        place = Place(
            "Azure", address.container, address.path, redacted(order.uri), endpoint_of(address, order.env), HINT
        )
        store = store_of(place, address, order.env, order.limits)
        secrets = (*(order.env.get(variable) for variable in _SECRETS), address.signature)
        scoped = replace(order, scope=scope_of(place.endpoint, *secrets))
        return fetch_listed(scoped, lambda: objects.parts_at(store, place, order.patterns))
