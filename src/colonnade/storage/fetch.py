"""`fetch`: the one door to artefacts. Picks the provider by scheme; `PROVIDERS` is where further schemes go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from colonnade.resources.kserve_texts import SCHEMES
from colonnade.resources.served import scheme_of
from colonnade.storage.cache import Cache
from colonnade.storage.http import HttpProvider
from colonnade.storage.limits import Limits, Progress
from colonnade.storage.local import LocalProvider
from colonnade.storage.provider import Order, Provider
from colonnade.storage.uri import SchemeNotServed, local_path, redacted, unsupported

_LOCAL = ""  # the registry's key of plain paths

PROVIDERS: dict[str, Callable[[], Provider]] = {
    _LOCAL: LocalProvider,
    "file": LocalProvider,
    "http": HttpProvider,
    "https": HttpProvider,
}


def schemes() -> tuple[str, ...]:
    """The URI schemes that are fetched here; plain paths come beside them."""
    return tuple(sorted(scheme for scheme in PROVIDERS if scheme != _LOCAL))


def check_uri(uri: str) -> None:
    """Whether `fetch` would take this URI; nothing is fetched.

    Raises:
        InvalidInput: KServe's text for a scheme that KServe does not know; or a local path that names nothing.
        SchemeNotServed: a scheme of KServe that this version does not fetch.
    """
    scheme = scheme_of(uri)
    if scheme in (_LOCAL, "file"):
        local_path(uri)
    elif scheme not in SCHEMES and scheme not in PROVIDERS:
        raise unsupported(uri)
    elif scheme not in PROVIDERS:
        raise SchemeNotServed(
            f"storageUri {redacted(uri)}: {scheme}:// is a scheme of KServe that this version does not fetch yet; "
            f"use a local path or one of {', '.join(f'{each}://' for each in schemes())}"
        )


def fetch(
    uri: str,
    cache: Path,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
    env: Mapping[str, str] | None = None,
) -> Path:
    """Bring the artefact at `uri` to this machine. Blocks.

    A local file or folder is returned as it is; a relative path counts from the current directory. What is downloaded
    comes back as a folder in the cache that holds the one file, or the members of the one archive (`.tar`, `.tar.gz`,
    `.tgz`, `.tar.bz2`, `.tar.xz`, `.zip`), as KServe's storage initializer leaves it in `/mnt/models`. Safe to call at
    the same time from many threads and processes.

    Args:
        uri: `storageUri` of a manifest.
        cache: the cache's folder; made if absent.
        progress: told about downloaded bytes as they come.
        limits: what the fetch may cost; the defaults are in `colonnade.defaults`.
        env: where credentials are; the process's environment by default.

    Raises:
        InvalidInput, SchemeNotServed: see `check_uri`.
        LoadFailed: the artefact cannot be had; names the URI without its secrets, the cause and the fix.
    """
    check_uri(uri)
    provider = PROVIDERS[scheme_of(uri)]()
    environment = os.environ if env is None else env
    return provider.fetch(Order(uri, Cache(cache), limits or Limits(), environment, progress))
