"""What an `oci://` URI names, by the rules of Docker's references, and the credentials of a Docker config for it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colonnade.errors import InvalidInput, LoadFailed

_HUB = "docker.io"
_HUB_SERVER = "registry-1.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"  # under this name Docker keeps the credentials of its own registry
_HOST = re.compile(r"localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+:\d+|\[[0-9a-fA-F:]+\](:\d+)?")
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
_NAME = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A manifest in a registry.

    Attributes:
        host: the registry's name as the reference has it, with its port.
        name: the repository.
        version: a digest, or else a tag.
    """

    host: str
    name: str
    version: str

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP is the custom."""
        return _LOOPBACK.fullmatch(self.host) is not None

    @property
    def server(self) -> str:
        """The host that is asked."""
        return _HUB_SERVER if self.host == _HUB else self.host


def reference_of(uri: str) -> Reference:
    """Read `oci://[HOST/]NAME[:TAG][@DIGEST]`. Without a host it is Docker's own registry, without a tag `latest`.

    Raises:
        InvalidInput: it is no reference.
    """
    text = uri.partition("://")[2]
    rest, _, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or _HOST.fullmatch(host) is None:
        host, path = _HUB, rest
    name, _, tag = path.partition(":")
    if host in (_HUB, f"index.{_HUB}"):
        host, name = _HUB, name if "/" in name else f"library/{name}"
    tag_fits = _TAG.fullmatch(tag) if tag else ":" not in path
    if _NAME.fullmatch(name) is None or not tag_fits or (("@" in rest + digest) or ("@" in text and not digest)):
        raise InvalidInput(f"storageUri {uri} is no reference of an image; write oci://HOST/NAME:TAG")
    if digest and _DIGEST.fullmatch(digest) is None:
        raise InvalidInput(
            f"storageUri {uri} has no valid digest; write oci://HOST/NAME@sha256:<64 hexadecimal digits>"
        )
    return Reference(host, name, digest or tag or "latest")


def _docker_config(env: Mapping[str, str]) -> Mapping[str, Any]:
    """The `auths` of the Docker config that the variables hold or name; empty without one."""
    text = env.get("DOCKER_AUTH_CONFIG", "")
    named = env.get("KSERVE_OCI_DOCKER_CONFIG", "")
    if not text and named:
        try:
            text = Path(named).read_text()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise LoadFailed(f"the Docker config {named} cannot be read: {error}") from None
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    auths = found.get("auths", {}) if isinstance(found, dict) else None
    if not isinstance(auths, dict):
        raise LoadFailed('the Docker config for the registry must be a JSON object with the key "auths"')
    return auths


def login_of(reference: Reference, env: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password for the reference's registry; None if the config has none, as for public ones.

    Raises:
        LoadFailed: the config, or the entry for the registry, cannot be read; no content is shown.
    """
    auths = _docker_config(env)
    host = reference.host
    keys = (
        f"{host}/{reference.name}",
        host,
        f"https://{host}",
        f"http://{host}",
        *([_HUB_KEY] if host == _HUB else []),
    )
    entry = next((auths[key] for key in keys if isinstance(auths.get(key), dict)), None)
    if entry is None:
        return None
    user, password, packed = entry.get("username"), entry.get("password"), entry.get("auth")
    if isinstance(user, str) and isinstance(password, str):
        return user, password
    if not isinstance(packed, str):
        return None
    try:
        user, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise LoadFailed(f'the Docker config\'s "auth" for {host} is no base64 of "user:password"') from None
    return user, password
