"""How the control plane gets models: what each fetch may use, in which order ways are tried, and what the cache keeps.

A URI is served by the first of: a mirror (`--mirror`), a local model cache, a ClusterStorageContainer, the platform's
own providers. What it needs is looked up on the event loop when the fetch begins; the fetch itself blocks a thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from colonnade.control.models import storagecontainers
from colonnade.control.models.credentials import Credentials
from colonnade.control.models.fetching import Fetched, Waits, Work
from colonnade.control.models.localcaches import LocalCache, covering, local_cache
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workload.sources import PLACEHOLDER, Source
from colonnade.errors import LoadFailed
from colonnade.resources.localmodels import LOCAL_MODEL_RESOURCES
from colonnade.resources.served import LOCAL_SCHEMES, scheme_of
from colonnade.storage import credentials, eviction, initializer
from colonnade.storage.assembly import assemble
from colonnade.storage.cache import Cache
from colonnade.storage.fetch import check_uri, fetch
from colonnade.storage.initializer import Initializer
from colonnade.storage.limits import Limits, Progress
from colonnade.storage.mirror import Mirror
from colonnade.storage.provider import Order
from colonnade.storage.scan.report import Report
from colonnade.storage.uri import redacted
from colonnade.storage.volumes import Volumes

log = logging.getLogger(__name__)

GROUP = "serving.kserve.io"
_TIDY_PAUSE = 5.0  # at least, between two looks at what is in use
_TIDY_PERIOD = 60.0  # at most
_KEY = re.compile(r"[0-9a-z-]+")

Inspect = Callable[[Path, Source], Report | None]
"""Looks at what was fetched, on the fetch's thread; raises LoadFailed if it must not be used."""


class Errand(NamedTuple):
    """One URI with all that its fetch needs."""

    uri: str
    env: Mapping[str, str]
    volumes: Volumes
    mirrored: Path | None = None
    local: LocalCache | None = None
    initializer: Initializer | None = None


class Artefacts:
    """Fetches sources into the one cache, and keeps that in bounds."""

    def __init__(
        self,
        store: Store,
        cache: Cache,
        *,
        mirror: Mirror,
        limit: int,
        volumes: Callable[[str], Volumes],
        inspect: Inspect = lambda path, source: None,
        further: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`limit` is in bytes. `volumes` gives those of a namespace. `further` are paths in use that no pod
        names."""
        self._further = further
        self.cache = cache
        self._store = store
        self._mirror = mirror
        self._limit = limit
        self._volumes = volumes
        self._inspect = inspect
        self._credentials = Credentials(store, cache.root / "authorities")
        self._used: frozenset[str] = frozenset()
        self._stirred = asyncio.Event()

    def prepare(self, namespace: str, source: Source) -> Work:
        """What fetches a source: everything is looked up now, and nothing is fetched yet.

        Raises:
            errors.Error: what it needs is missing or malformed.
        """
        pieces = [(piece.uri, piece.below) for piece in source.pieces] or [(source.uri, "")]
        errands = [(self._errand(namespace, source._replace(uri=uri)), below) for uri, below in pieces]

        def work(progress: Progress) -> Fetched:
            found = [(*self._bring(errand, progress), below) for errand, below in errands]
            origin = "; ".join(words for _, words, _ in found if words)
            path = found[0][0]
            in_place = any(self.cache.key_in(str(piece.absolute())) is None for piece, _, _ in found)
            if source.pieces:
                path = assemble(self.cache, [(piece, below) for piece, _, below in found])
            return Fetched(path, origin, self._inspect(path, source), in_place)

        return work

    def prepare_cache(self, namespace: str, source: Source) -> Work:
        """What downloads the source of a local model cache.

        Raises:
            errors.Error: what it needs is missing or malformed; or the source is on this machine already.
        """
        if scheme_of(source.uri) in LOCAL_SCHEMES:
            raise LoadFailed(f"{source.uri} is on this machine; services use it as it is, so no cache is needed")
        errand = self._direct(namespace, source)

        def work(progress: Progress) -> Fetched:
            return Fetched(*self._bring(errand, progress))

        return work

    def caches(self, namespace: str) -> list[LocalCache]:
        """The local model caches that services of a namespace may use."""
        mine = self._store.list(GROUP, LOCAL_MODEL_RESOURCES.namespaced, namespace)[0]
        return [local_cache(each) for each in (*mine, *self._store.list(GROUP, LOCAL_MODEL_RESOURCES.cluster)[0])]

    def _errand(self, namespace: str, source: Source) -> Errand:
        volumes = self._volumes(namespace)
        if scheme_of(source.uri) in LOCAL_SCHEMES:
            return Errand(source.uri, {}, volumes)
        if scheme_of(source.uri) != PLACEHOLDER:
            mirrored = self._mirror.find(source.uri)
            if mirrored is not None:
                return Errand(source.uri, {}, volumes, mirrored=mirrored)
            local = covering(source.uri, self.caches(namespace))
            if local is not None:
                return Errand(source.uri, {}, volumes, local=local)
        return self._direct(namespace, source)

    def _direct(self, namespace: str, source: Source) -> Errand:
        """The errand that asks the source itself, or its mirror: no local model cache."""
        granted = self._credentials.of(namespace, source)
        uri, volumes = granted.uri, self._volumes(namespace)
        mirrored = self._mirror.find(uri)
        if mirrored is not None:
            return Errand(uri, {}, volumes, mirrored=mirrored)
        containers = self._store.list(GROUP, "clusterstoragecontainers")[0]
        chosen = storagecontainers.choose(uri, source.container, containers)
        if chosen is not None:
            command = storagecontainers.initializer(
                chosen, namespace, lambda resource, name: self._data(resource, namespace, name)
            )
            if command is not None:
                return Errand(uri, granted.env, volumes, initializer=command)
        check_uri(uri)
        return Errand(uri, granted.env, volumes)

    def _bring(self, errand: Errand, progress: Progress) -> tuple[Path, str]:
        """The path, and in words what was used instead of the URI."""
        root = self.cache.root
        if errand.mirrored is not None:
            path = fetch(str(errand.mirrored), root, progress=progress)
            return path, f"{redacted(errand.uri)} from its mirror {errand.mirrored}"
        if errand.local is not None:
            return self._from_local(errand.uri, errand.local), f"{redacted(errand.uri)} from {errand.local.title}"
        if errand.initializer is not None:
            order = Order(errand.uri, self.cache, Limits(), errand.env, progress)
            return initializer.run(errand.initializer, order, errand.env), ""
        env = credentials.over(os.environ, errand.env)
        return fetch(errand.uri, root, progress=progress, env=env, volumes=errand.volumes), ""

    def _from_local(self, uri: str, local: LocalCache) -> Path:
        """What lies in a local model cache under a URI; no network."""
        folder = self.cache.pin_of(local.pin)
        if folder is None:
            raise Waits(f"{redacted(uri)} waits for {local.title} to be downloaded; its status says how far it is")
        below = local.below(uri) or ""
        path = (folder / below).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.exists():
            raise LoadFailed(f"{local.title} has no {below!r}; correct the storageUri, or cache that path")
        return folder / below if below else folder

    def still(self, path: Path) -> bool:
        """Whether what was fetched is there yet; what is in the cache then stays for a while."""
        key = self.cache.key_in(str(path))
        return path.exists() if key is None else self.cache.use(key) is not None

    def look(self) -> None:
        """Pods came or went: what is in use may have changed."""
        self._stirred.set()

    async def run(self) -> None:
        """Keep the cache within its limit, until cancelled."""
        while True:
            self._stirred.clear()
            try:
                await self.tidy()
            except Exception:
                log.exception("the cache of models could not be tidied")
            await asyncio.sleep(_TIDY_PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), _TIDY_PERIOD)

    async def tidy(self) -> None:
        """Note what is in use, and evict what is not until the cache is within its limit."""
        pods, _ = self._store.list("", "pods")
        texts = chain(self._further(), (text for pod in pods for text in _texts(pod)))
        used = frozenset(key for text in texts for key in self._keys(text))
        before, self._used = self._used, used
        for key in before | used:
            self.cache.use(key)  # what a replica has just left is as recent as what one has
        self.cache.lease(used)
        done = await asyncio.to_thread(eviction.prune, self.cache, self._limit)
        if done.gone:
            log.info("models that nobody uses left the cache", extra={"count": len(done.gone), "bytes": done.size})
        if done.size > self._limit:
            log.warning(
                "the models in use are larger than the cache; raise --cache-size",
                extra={"bytes": done.size, "limit": self._limit},
            )

    def _keys(self, text: str) -> Iterator[str]:
        """The artefacts whose path stands anywhere in a text."""
        prefix = f"{self.cache.artefacts}{os.sep}"
        for part in text.split(prefix)[1:]:
            if found := _KEY.match(part):
                yield found.group()

    def _data(self, resource: str, namespace: str, name: str) -> Mapping[str, str] | None:
        """The values of a Secret or ConfigMap as text."""
        found = self._store.get(Ref("", resource, namespace, name))
        if found is None:
            return None
        data: dict[str, str] = found.get("data") or {}
        if resource != "secrets":
            return data
        return {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}


def _texts(pod: Mapping[str, Any]) -> Iterable[str]:
    """All texts of a pod that may hold a path of its model."""
    waiting: list[Any] = [pod["spec"], pod["metadata"].get("annotations") or {}]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, str):
            yield found
