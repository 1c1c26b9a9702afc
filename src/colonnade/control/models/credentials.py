"""Whose credentials a fetch uses: the secrets of the service account, and the storage secret, as stored objects.

Read when a fetch begins and handed to it alone: no pod, status or log has them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workload.sources import PLACEHOLDER, Source
from colonnade.errors import LoadFailed
from colonnade.resources.served import scheme_of
from colonnade.security import files
from colonnade.storage import credentials

STORAGE_SECRET = "storage-config"  # noqa: S105 - the name of a secret
_CA_KEY = "cabundle.crt"  # of KServe's CA ConfigMaps


class Granted(NamedTuple):
    """A source with its credentials."""

    uri: str
    env: dict[str, str]


class Credentials:
    """Looks up what a source may use in its namespace."""

    def __init__(self, store: Store, authorities: Path) -> None:
        """`authorities` is a folder for certificates of authorities that ConfigMaps hold: clients want files."""
        self._store = store
        self._authorities = authorities

    def of(self, namespace: str, source: Source) -> Granted:
        """The URI and the variables of a source.

        Raises:
            LoadFailed: a secret that is asked for by name is missing, or malformed.
        """
        env = self._of_account(namespace, source)
        uri = source.uri
        if source.storage is not None:
            name = source.secret or STORAGE_SECRET
            parameters = dict(source.storage.parameters)
            key = credentials.key_of_block(source.storage.key, parameters)
            entry = self._entry(namespace, name, key, required=bool(source.storage.key))
            located = credentials.of_block(uri, PLACEHOLDER, name, key, entry, parameters)
            uri, env = located.uri, {**env, **located.env}
        if bundle := env.pop(credentials.CA_CONFIG_MAP, ""):
            env["AWS_CA_BUNDLE"] = str(self._bundle(namespace, bundle))
        return Granted(uri, {**env, **self._referred(namespace, source), **dict(source.env)})

    def _referred(self, namespace: str, source: Source) -> dict[str, str]:
        """Variables of the manifest whose values are in Secrets; one that is not there is left out."""
        named = (
            (variable, self._entry(namespace, name, key, required=False)) for variable, name, key in source.referred
        )
        return {variable: value for variable, value in named if value}

    def _of_account(self, namespace: str, source: Source) -> dict[str, str]:
        account = self._store.get(Ref("", "serviceaccounts", namespace, source.account))
        if account is None and source.account != "default":
            raise LoadFailed(
                f'serviceaccounts "{source.account}" not found in namespace {namespace}: apply it, or correct '
                "serviceAccountName"
            )
        if source.secret and source.storage is None:
            return self._of_secrets(namespace, [source.secret])
        named = [entry.get("name", "") for entry in (account or {}).get("secrets") or []]
        pulls = [entry.get("name", "") for entry in (account or {}).get("imagePullSecrets") or []]
        return self._of_secrets(namespace, named) | (
            self._of_secrets(namespace, pulls) if scheme_of(source.uri).startswith("oci") else {}
        )

    def _of_secrets(self, namespace: str, names: list[str]) -> dict[str, str]:
        env: dict[str, str] = {}
        for name in names:
            secret = self._store.get(Ref("", "secrets", namespace, name))
            if secret is None:
                raise LoadFailed(f'secrets "{name}" not found in namespace {namespace}, which a service account names')
            env |= credentials.of_secret(_decoded(secret), secret["metadata"].get("annotations") or {})
        return env

    def _entry(self, namespace: str, name: str, key: str, *, required: bool) -> str | None:
        secret = self._store.get(Ref("", "secrets", namespace, name))
        if secret is None:
            if required:
                raise LoadFailed(f'can\'t read storage secret {name}: secrets "{name}" not found in {namespace}')
            return None
        found = _decoded(secret).get(key)
        if found is None and required:
            raise LoadFailed(f"specified storage key {key} not found in storage secret {name}")
        return found

    def _bundle(self, namespace: str, name: str) -> Path:
        found = self._store.get(Ref("", "configmaps", namespace, name))
        text = ((found or {}).get("data") or {}).get(_CA_KEY)
        if not text:
            raise LoadFailed(
                f"the ConfigMap {name} in namespace {namespace} has no {_CA_KEY}; put the certificates there"
            )
        self._authorities.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._authorities / f"{hashlib.sha256(text.encode()).hexdigest()}.crt"
        if not place.exists():
            files.write(place, text.encode())
        return place


def _decoded(secret: Mapping[str, Any]) -> dict[str, str]:
    data = secret.get("data") or {}
    return {str(key): base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}
