"""Which local model cache a URI is served from. Pure; KServe's rule: the URI is the source, or lies under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class LocalCache(NamedTuple):
    """A LocalModelCache, or a LocalModelNamespaceCache with its namespace."""

    namespace: str
    name: str
    source: str

    @property
    def pin(self) -> str:
        """The name under which its artefact is pinned. The source is part of it: another object of the name is new."""
        return f"{self.namespace}/{self.name}\n{self.source}"

    @property
    def title(self) -> str:
        """How messages name it."""
        if not self.namespace:
            return f"the LocalModelCache {self.name}"
        return f"the LocalModelNamespaceCache {self.namespace}/{self.name}"

    def below(self, uri: str) -> str | None:
        """The path of a URI under the source, "" for the source itself; None if it does not lie there."""
        source, wanted = self.source.rstrip("/"), uri.rstrip("/")
        if wanted == source:
            return ""
        return wanted[len(source) + 1 :] if wanted.startswith(f"{source}/") else None


def local_cache(stored: Mapping[str, Any]) -> LocalCache:
    """The view of a stored object."""
    metadata = stored["metadata"]
    return LocalCache(metadata.get("namespace", ""), metadata["name"], stored["spec"]["sourceModelUri"])


def covering(uri: str, known: Iterable[LocalCache]) -> LocalCache | None:
    """The cache that serves a URI: the namespace's own before the cluster's, then the nearest source."""
    fitting = [each for each in known if each.below(uri) is not None]
    return min(fitting, key=lambda each: (not each.namespace, -len(each.source), each.name), default=None)
