"""An image's layers into one folder: what lies under one folder of the image, later layers over earlier ones.

A layer is a tar file. It says that a file of an earlier layer is gone by an empty file `.wh.NAME`, and that a folder
begins anew by `.wh..wh..opq`. So each layer is unpacked on its own and then laid over what is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from colonnade.errors import LoadFailed
from colonnade.storage import archive
from colonnade.storage.limits import Limits

_GONE = ".wh."
_ANEW = ".wh..wh..opq"


def is_layer(media_type: str) -> bool:
    """Whether a blob of this type is a tar file, packed or not, of OCI's or Docker's kinds."""
    kind = media_type.partition("+")[0].removesuffix(".gzip").removesuffix(".zstd")
    return kind.endswith((".tar", "/tar"))


class Stack:
    """Layers laid over one another. `names` collects what else the image holds at its top, for messages."""

    def __init__(self, content: Path, scratch: Path, source: str, limits: Limits, root: str = "") -> None:
        """Of each layer what lies under the folder `root` is taken, all of it if that is empty."""
        self._content = content
        self._scratch = scratch
        self._source = source
        self._limits = limits
        self._root = root
        self._unpacked = 0
        self.names: set[str] = set()

    def lay(self, layer: Path) -> None:
        """Unpack a layer and lay it over the others.

        Raises:
            LoadFailed: see `archive.unpack`; or all layers together are too large.
        """
        folder = self._scratch / "layer"
        folder.mkdir()
        self._unpacked += archive.unpack(layer, folder, self._source, self._limits, self._renamed)
        if self._unpacked > self._limits.unpacked_bytes:  # an image may have many layers, and each of them many times
            raise LoadFailed(
                f"the layers of {self._source} unpack to more than {self._limits.unpacked_bytes} bytes, the limit for "
                "one image; make it smaller"
            )
        _merge(folder, self._content)
        shutil.rmtree(folder)

    def _renamed(self, name: str) -> str | None:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if parts and len(self.names) < 100:
            self.names.add(parts[0])
        if not self._root:
            return "/".join(parts)
        if parts in ([f"{_GONE}{self._root}"], [_ANEW]):  # the folder itself is gone in this layer
            return _ANEW
        return "/".join(parts[1:]) if len(parts) > 1 and parts[0] == self._root else None


def _merge(upper: Path, lower: Path) -> None:
    """Move `upper` over `lower`; a link there is replaced and never followed."""
    entries = sorted(upper.iterdir())
    _remove(lower, [entry.name for entry in entries])
    for entry in entries:
        if entry.name.startswith(_GONE):
            continue
        place = lower / entry.name
        is_folder = entry.is_dir() and not entry.is_symlink()
        if place.is_symlink() or place.exists():
            if is_folder and place.is_dir() and not place.is_symlink():
                _merge(entry, place)
                continue
            _delete(place)
        entry.rename(place)
        if is_folder:
            _forget_marks(place)


def _remove(lower: Path, names: Sequence[str]) -> None:
    """What a layer says is gone."""
    if _ANEW in names:
        for entry in lower.iterdir():
            _delete(entry)
    for name in names:
        if name.startswith(_GONE) and name != _ANEW:
            _delete(lower / name.removeprefix(_GONE))


def _forget_marks(folder: Path) -> None:
    for mark in folder.rglob(f"{_GONE}*"):
        _delete(mark)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
