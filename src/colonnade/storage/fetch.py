"""`fetch`: the one door to artefacts. Picks the provider by scheme; `PROVIDERS` is where further schemes go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from colonnade.resources.kserve_texts import SCHEMES
from colonnade.resources.served import scheme_of
from colonnade.storage.azure import AzureProvider, is_blob, is_file_share
from colonnade.storage.cache import Cache
from colonnade.storage.gcs import GcsProvider
from colonnade.storage.git import GitProvider, is_repository
from colonnade.storage.http import HttpProvider
from colonnade.storage.hub import HubProvider, repository_of
from colonnade.storage.limits import Limits, Progress
from colonnade.storage.local import LocalProvider
from colonnade.storage.oci import OciProvider
from colonnade.storage.oci_reference import reference_of
from colonnade.storage.provider import Order, Provider
from colonnade.storage.pvc import PvcProvider
from colonnade.storage.s3 import S3Provider
from colonnade.storage.uri import SchemeNotServed, bucket_and_path, local_path, redacted, unsupported
from colonnade.storage.volumes import Volumes
from colonnade.storage.webhdfs import WebHdfsProvider

_LOCAL = ""  # the registry's key of plain paths

PROVIDERS: dict[str, Callable[[], Provider]] = {
    _LOCAL: LocalProvider,
    "abfs": AzureProvider,
    "abfss": AzureProvider,
    "file": LocalProvider,
    "gs": GcsProvider,
    "hdfs": WebHdfsProvider,
    "hf": HubProvider,
    "http": HttpProvider,
    "https": HttpProvider,
    "oci": OciProvider,
    "oci+fetch": OciProvider,
    "oci+native": OciProvider,
    "pvc": PvcProvider,
    "s3": S3Provider,
    "webhdfs": WebHdfsProvider,
}

_READERS: dict[str, Callable[[str], object]] = {  # each raises InvalidInput on a URI that names nothing
    "gs": bucket_and_path,
    "hf": repository_of,
    "oci": reference_of,
    "oci+fetch": reference_of,
    "oci+native": reference_of,
    "s3": bucket_and_path,
}


def schemes() -> tuple[str, ...]:
    """The URI schemes that are fetched here; plain paths come beside them."""
    return tuple(sorted(scheme for scheme in PROVIDERS if scheme != _LOCAL))


def provider_of(uri: str) -> Provider:
    """The provider of a URI that `check_uri` takes. An `https://` address may be a blob container or a repository."""
    if is_blob(uri):
        return AzureProvider()
    if is_repository(uri):
        return GitProvider()
    return PROVIDERS[scheme_of(uri)]()


def check_uri(uri: str) -> None:
    """Whether `fetch` would take this URI; nothing is fetched.

    Raises:
        InvalidInput: KServe's text for a scheme that KServe does not know; or an address that names nothing.
        SchemeNotServed: a scheme of KServe that this version does not fetch.
    """
    scheme = scheme_of(uri)
    if scheme in (_LOCAL, "file"):
        local_path(uri)
    elif scheme not in SCHEMES and scheme not in PROVIDERS:
        raise unsupported(uri)
    elif scheme not in PROVIDERS:
        raise SchemeNotServed(
            f"storageUri {redacted(uri)}: {scheme}:// is a scheme of KServe that this version does not fetch; "
            f"use a local path or one of {', '.join(f'{each}://' for each in schemes())}"
        )
    elif is_file_share(uri):
        raise SchemeNotServed(
            f"storageUri {redacted(uri)}: Azure file shares are not fetched by this version; copy the model to a blob "
            "container, or mount the share and name its folder with pvc://"
        )
    elif scheme in _READERS:
        _READERS[scheme](uri)


def fetch(
    uri: str,
    cache: Path,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
    env: Mapping[str, str] | None = None,
    volumes: Volumes | None = None,
) -> Path:
    """Bring the artefact at `uri` to this machine. Blocks.

    A local file or folder is returned as it is; a relative path counts from the current directory. What is downloaded
    comes back as a folder in the cache that holds the files of the source, relative to the address, or the members of
    the one archive that it is (`.tar`, `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.zip`), as KServe's storage
    initializer leaves it in `/mnt/models`. Safe to call at the same time from many threads and processes.

    Args:
        uri: `storageUri` of a manifest.
        cache: the cache's folder; made if absent.
        progress: told about downloaded bytes as they come.
        limits: what the fetch may cost; the defaults are in `colonnade.defaults`.
        env: where credentials are; the process's environment by default.
        volumes: what `pvc://` can name; nothing by default.

    Raises:
        InvalidInput, SchemeNotServed: see `check_uri`.
        LoadFailed: the artefact cannot be had; names the URI without its secrets, the cause and the fix.
    """
    check_uri(uri)
    environment = os.environ if env is None else env
    order = Order(uri, Cache(cache), limits or Limits(), environment, progress, volumes=volumes or Volumes())
    return provider_of(uri).fetch(order)
