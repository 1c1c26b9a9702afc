"""`oci://HOST/NAME:TAG`: a model in a registry, pulled and unpacked without a container engine.

Two kinds are known. An image that has its model in `/models` (KServe's modelcar): that folder is the artefact. And an
artefact whose layers carry file names (as `oras push` writes them): those files are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from colonnade.errors import LoadFailed
from colonnade.storage import archive
from colonnade.storage.cache import Ref
from colonnade.storage.http_session import HttpSession
from colonnade.storage.layers import Stack, is_layer
from colonnade.storage.listed import scope_of
from colonnade.storage.oci_reference import Reference, login_of, reference_of
from colonnade.storage.parts import Part
from colonnade.storage.provider import Order
from colonnade.storage.registry import Registry
from colonnade.storage.transfer import attempt, collect, gather
from colonnade.storage.trust import is_true, tls_context

_TITLE = "org.opencontainers.image.title"
_UNPACK = "io.deis.oras.content.unpack"
_FOLDER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MODELS = "models"


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob of a manifest. `title` is the path of the file or folder that it is, if it says so."""

    digest: str
    size: int
    media_type: str
    title: str
    unpacks: bool


def layers_of(manifest: Mapping[str, Any], shown: str) -> list[Layer]:
    """The layers of a manifest, in order.

    Raises:
        LoadFailed: one lacks its digest or size.
    """
    layers = []
    for entry in manifest.get("layers") or manifest.get("blobs") or ():
        try:
            notes = entry.get("annotations") or {}
            title, kind = str(notes.get(_TITLE, "")), str(entry.get("mediaType", ""))
            # The two implementations of oras mark a packed folder differently.
            unpacks = is_true(notes.get(_UNPACK)) or (kind == _FOLDER and not archive.is_archive(title))
            layers.append(Layer(str(entry["digest"]), int(entry["size"]), kind, title, unpacks))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise LoadFailed(f"{shown}: the registry's manifest has a layer without digest and size") from None
    return layers


class OciProvider:
    """Pulls from registries."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the image's `/models`, or with the artefact's files."""
        reference = reference_of(order.uri)
        login = login_of(reference, order.env)
        plain = reference.is_local or is_true(order.env.get("KSERVE_OCI_INSECURE_REGISTRY"))
        scoped = replace(order, scope=scope_of(reference.server, *(login or ())))
        with order.cache.lock(scoped.identity), HttpSession(scoped, tls_context(order.env)) as session:
            registry = Registry(scoped, reference, session, login, plain=plain)
            return attempt(scoped, lambda: _pull(scoped, reference, registry))


def _pull(order: Order, reference: Reference, registry: Registry) -> Path:
    digest, manifest = registry.manifest(reference.version)
    version = f"{digest} {order.patterns}"
    known = order.cache.ref(order.identity)
    if known is not None and known.etag == version:
        return order.cache.artefact(known.key)
    layers = layers_of(manifest, order.uri)
    titled = [layer for layer in layers if layer.title]
    if not titled:
        return _image(order, layers, registry, version)
    taken = [layer for layer in titled if layer.unpacks or order.patterns.takes(layer.title)]
    if not taken:
        raise LoadFailed(
            f"Failed to fetch model. No model found in {order.uri}: it has no files that the allow and ignore patterns "
            "take"
        )
    if any(layer.unpacks for layer in taken):
        return _folders(order, taken, registry, version)
    return collect(order, [_part(registry, layer, layer.title) for layer in taken], version=version)


def _part(registry: Registry, layer: Layer, path: str) -> Part:
    def read(start: int, stop: int | None) -> Iterator[bytes]:
        return registry.blob(layer.digest, start, stop)

    return Part(path, layer.size, f"{registry.base} {layer.digest}", read, layer.digest)


def _name(layer: Layer) -> str:
    return layer.digest.replace(":", "-")


def _image(order: Order, layers: Sequence[Layer], registry: Registry, version: str) -> Path:
    """What the image has in `/models`."""
    tars = [layer for layer in layers if is_layer(layer.media_type)]
    with order.cache.partial(order.identity) as scratch:
        content, blobs = scratch / "content", scratch / "blobs"
        content.mkdir()
        gather(order, [_part(registry, layer, _name(layer)) for layer in _distinct(tars)], blobs)
        stack = Stack(content, scratch, order.uri, order.limits, _MODELS)
        for layer in tars:
            stack.lay(blobs / _name(layer))
        if not any(content.iterdir()):
            raise LoadFailed(
                f"OCI image at {order.uri} has no /models/ directory; a model image has its files there. Found "
                f"top-level entries across all layers: {sorted(stack.names)[:10]}"
            )
        return _keep(order, content, version)


def _folders(order: Order, layers: Sequence[Layer], registry: Registry, version: str) -> Path:
    """The files of an artefact of which some are packed folders."""
    with order.cache.partial(order.identity) as scratch:
        content, blobs = scratch / "content", scratch / "blobs"
        content.mkdir()
        packed = [layer for layer in layers if layer.unpacks]
        gather(order, [_part(registry, layer, _name(layer)) for layer in _distinct(packed)], blobs)
        gather(order, [_part(registry, layer, layer.title) for layer in layers if not layer.unpacks], content)
        stack = Stack(content, scratch, order.uri, order.limits)
        for layer in packed:
            stack.lay(blobs / _name(layer))
        return _keep(order, content, version)


def _distinct(layers: Sequence[Layer]) -> list[Layer]:
    """Each blob once: an image may hold the same layer several times."""
    return list({layer.digest: layer for layer in layers}.values())


def _keep(order: Order, content: Path, version: str) -> Path:
    archive.require_links_inside(content, order.uri)
    key = order.cache.keep(content)
    order.cache.remember(order.identity, Ref(key, version))
    return order.cache.artefact(key)
