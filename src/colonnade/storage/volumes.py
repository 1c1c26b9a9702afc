"""What `pvc://CLAIM` means on one machine: a folder under a name.

On a cluster a claim is bound to a volume that an administrator provides. Here the administrator is whoever starts the
platform: a folder of their own choice under a name (`colonnade up --pvc NAME=DIR`), or one in the state directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from colonnade.errors import InvalidInput, LoadFailed

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # of Kubernetes' objects


@dataclass(frozen=True, slots=True)
class Volumes:
    """The claims that a service can name.

    Attributes:
        named: folders by the name of the claim.
        root: the folder in which further claims are folders of their name, or None.
    """

    named: Mapping[str, Path] = field(default_factory=dict)
    root: Path | None = None

    def folder(self, claim: str) -> Path:
        """The folder of a claim.

        Raises:
            LoadFailed: there is none; says how to make one.
        """
        if not _NAME.fullmatch(claim) or ".." in claim:
            raise LoadFailed(f"pvc://{claim} names no claim; its name has lower-case letters, digits, '-' and '.'")
        place = self.named.get(claim)
        if place is None and self.root is not None:
            place = self.root / claim
        if place is not None and place.is_dir():
            return place
        beside = "" if self.root is None else f", or make the folder {self.root / claim}"
        missing = "" if place is None or claim not in self.named else f" ({place} is no folder)"
        raise LoadFailed(
            f"there is no volume for the claim {claim!r}{missing}; start the platform with --pvc {claim}=DIR{beside}"
        )


def named_volumes(words: Iterable[str]) -> dict[str, dict[str, Path]]:
    """The folders that `[NAMESPACE/]NAME=DIR` words give to claims, by namespace; without one it is `default`.

    Raises:
        InvalidInput: a word is malformed, a folder does not exist, or a claim is named twice.
    """
    found: dict[str, dict[str, Path]] = {}
    for word in words:
        claim, _, folder = word.partition("=")
        namespace, slash, name = claim.partition("/")
        namespace, name = (namespace, name) if slash else ("default", claim)
        if not folder or _NAME.fullmatch(name) is None or _NAME.fullmatch(namespace) is None:
            raise InvalidInput(f"--pvc {word!r} must be [NAMESPACE/]NAME=DIR, such as models=/srv/models")
        place = Path(folder).expanduser().absolute()
        if not place.is_dir():
            raise InvalidInput(f"--pvc {word!r}: {place} is no folder; make it, or correct the path")
        if name in found.setdefault(namespace, {}):
            raise InvalidInput(f"--pvc names the claim {name} of {namespace} twice; give each claim one folder")
        found[namespace][name] = place
    return found
