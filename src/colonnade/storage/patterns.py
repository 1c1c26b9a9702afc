"""Allow and ignore patterns: which files of a source are fetched.

Semantics are those of the hub's snapshot download, which KServe's initializer hands them to: shell patterns over the
whole relative path, in which `*` also crosses `/`; a pattern that ends with `/` means all below that folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from colonnade.errors import LoadFailed

ALLOW = "STORAGE_ALLOW_PATTERNS"
IGNORE = "STORAGE_IGNORE_PATTERNS"


class Patterns(NamedTuple):
    """Which paths are taken. Without `allow`, all that `ignore` leaves."""

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Whether a file is fetched; `path` is relative to the artefact, with `/`."""
        if self.allow and not _any(path, self.allow):
            return False
        return not _any(path, self.ignore)

    @property
    def all(self) -> bool:
        """Whether every path is taken."""
        return not self.allow and not self.ignore


def patterns_of(env: Mapping[str, str]) -> Patterns:
    """The patterns that KServe's variables hold, each a JSON list or words parted by commas.

    Raises:
        LoadFailed: a variable starts like a JSON list and is none.
    """
    return Patterns(_listed(ALLOW, env.get(ALLOW, "")), _listed(IGNORE, env.get(IGNORE, "")))


def _listed(variable: str, text: str) -> tuple[str, ...]:
    text = text.strip()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise LoadFailed(
                f'{variable} must be a JSON list of texts, such as ["*.safetensors"], or words with commas'
            )
        return tuple(item for item in found if item)
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _any(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern) for pattern in patterns)
