"""Builds images layer by layer and pushes them to a registry, as a builder of images does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from typing import Any

import httpx

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OCI = "application/vnd.oci.image.layer.v1.tar"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

Member = bytes | tuple[str, str] | None
"""A file's content; `("symlink" | "hardlink" | "device", target)`; None for a folder."""


def layer(members: dict[str, Member], kind: str = f"{OCI}+gzip") -> tuple[str, bytes]:
    """A layer's media type and bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
                continue
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                how, info.linkname = content
                info.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}[how]
            tar.addfile(info)
    raw = packed.getvalue()
    if kind.endswith("zstd"):
        return kind, zstd.compress(raw)
    return kind, gzip.compress(raw) if kind.endswith("gzip") else raw


class Pusher:
    """Pushes to one repository."""

    def __init__(self, host: str, name: str) -> None:
        self.uri = f"oci://{host}/{name}"
        self._base = f"http://{host}/v2/{name}"

    def blob(self, body: bytes, kind: str) -> dict[str, Any]:
        """Push a blob; returns its descriptor."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        begun = httpx.post(f"{self._base}/blobs/uploads/")
        begun.raise_for_status()
        place = httpx.URL(self._base).join(begun.headers["Location"]).copy_add_param("digest", digest)
        httpx.put(place, content=body).raise_for_status()
        return {"mediaType": kind, "digest": digest, "size": len(body)}

    def manifest(self, content: dict[str, Any], tag: str) -> dict[str, Any]:
        """Push a manifest or an index; returns its descriptor."""
        body = json.dumps(content).encode()
        kind = content["mediaType"]
        httpx.put(f"{self._base}/manifests/{tag}", content=body, headers={"Content-Type": kind}).raise_for_status()
        return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(body).hexdigest()}", "size": len(body)}

    def image(self, layers: list[tuple[str, bytes]], tag: str = "latest") -> dict[str, Any]:
        """Push an image; returns its manifest's descriptor."""
        config = self.blob(b"{}", "application/vnd.oci.image.config.v1+json")
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [self.blob(body, kind) for kind, body in layers],
        }
        return self.manifest(content, tag)

    def index(self, manifests: list[dict[str, Any]], tag: str = "latest") -> dict[str, Any]:
        """Push an index of manifests."""
        return self.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, tag)
