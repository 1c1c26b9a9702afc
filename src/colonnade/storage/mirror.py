"""Folders that stand in for remote places: how a machine without a network runs manifests that name one.

`colonnade up --mirror gs://kfserving-examples=/srv/models` makes `gs://kfserving-examples/models/iris` the path
`/srv/models/models/iris`. Pure but for the look at whether the path is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.resources.served import LOCAL_SCHEMES, scheme_of
from colonnade.storage.uri import redacted


@dataclass(frozen=True, slots=True)
class Mirror:
    """Which folder stands in for which prefix of URIs. The longest prefix wins."""

    folders: tuple[tuple[str, Path], ...] = ()

    def find(self, uri: str) -> Path | None:
        """The path that stands in for a URI, or None if no prefix covers it.

        Raises:
            LoadFailed: a prefix covers it, and its folder does not have the path, or the path leaves the folder.
        """
        plain = uri.partition("?")[0].partition("#")[0].rstrip("/")
        covering = [(prefix, folder) for prefix, folder in self.folders if _covers(prefix, plain)]
        if not covering:
            return None
        prefix, folder = max(covering, key=lambda entry: len(entry[0]))
        below = plain[len(prefix) :].lstrip("/")
        root = folder.resolve()
        for candidate in dict.fromkeys((below, unquote(below))):
            if "\0" in candidate:
                continue
            place = (root / candidate).resolve()
            if not place.is_relative_to(root):
                raise LoadFailed(f"{redacted(uri)} leads out of the folder {folder}, which mirrors {prefix}; refused")
            if place.exists():
                return root / candidate if candidate else root
        raise LoadFailed(
            f"{redacted(uri)}: the folder {folder}, which mirrors {prefix}, has no {below!r}; put it there"
        )


def _covers(prefix: str, uri: str) -> bool:
    return uri == prefix or uri.startswith(f"{prefix}/")


def mirror_of(words: Iterable[str]) -> Mirror:
    """The mirror that `PREFIX=DIR` words describe.

    Raises:
        InvalidInput: a word has another form, the prefix is local, or the folder does not exist.
    """
    folders: dict[str, Path] = {}
    for word in words:
        prefix, separator, folder = word.rpartition("=")
        prefix = prefix.rstrip("/")
        if not separator or not folder or scheme_of(prefix) in LOCAL_SCHEMES or prefix.endswith(":"):
            raise InvalidInput(f"--mirror {word!r} must be PREFIX=DIR, such as gs://kfserving-examples=/srv/models")
        place = Path(folder).expanduser().absolute()
        if not place.is_dir():
            raise InvalidInput(f"--mirror {word!r}: {place} is no folder; make it, or correct the path")
        if prefix in folders:
            raise InvalidInput(f"--mirror names {prefix} twice; give each prefix one folder")
        folders[prefix] = place
    return Mirror(tuple(folders.items()))
