"""An image's layers into one folder: what lies under one folder of the image, later layers over earlier ones.

A layer is a tar file. It says that a file of an earlier layer is gone by an empty file `.wh.NAME`, and that a folder
begins anew by `.wh..wh..opq`. So each layer is unpacked on its own and then laid over what is there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from colonnade.errors import LoadFailed
from colonnade.storage import archive
from colonnade.storage.limits import Limits

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK = 1 << 20
_GONE = ".wh."
_ANEW = ".wh..wh..opq"


def is_layer(media_type: str) -> bool:
    """Whether a blob of this type is a tar file, packed or not, of OCI's or Docker's kinds."""
    kind = media_type.partition("+")[0].removesuffix(".gzip").removesuffix(".zstd")
    return kind.endswith((".tar", "/tar"))


def unpacked_zstd(packed: Path, tar: Path, source: str, limits: Limits) -> None:
    """Take off the compression that tar files are not read with.

    Raises:
        LoadFailed: it is damaged, or more than the limit for an archive.
    """
    done = 0
    try:
        with zstd.open(packed, "rb") as content, tar.open("xb") as target:
            while block := content.read(_BLOCK):
                done += len(block)
                if done > limits.unpacked_bytes:
                    raise LoadFailed(f"{source} unpacks to more than {limits.unpacked_bytes} bytes, the limit")
                target.write(block)
    except (zstd.ZstdError, EOFError) as error:
        raise LoadFailed(f"a layer of {source} is damaged: {error}; push the image again") from error


class Stack:
    """Layers laid over one another. `names` collects what else the image holds at its top, for messages."""

    def __init__(self, content: Path, scratch: Path, source: str, limits: Limits, root: str = "") -> None:
        """Of each layer what lies under the folder `root` is taken, all of it if that is empty."""
        self._content = content
        self._scratch = scratch
        self._source = source
        self._limits = limits
        self._root = root
        self.names: set[str] = set()

    def lay(self, layer: Path, media_type: str) -> None:
        """Unpack a layer and lay it over the others.

        Raises:
            LoadFailed: see `archive.unpack`.
        """
        folder, tar = self._scratch / "layer", layer
        folder.mkdir()
        if media_type.endswith("zstd"):
            tar = self._scratch / "layer.tar"
            unpacked_zstd(layer, tar, self._source, self._limits)
        archive.unpack(tar, folder, self._source, self._limits, self._renamed)
        if tar != layer:
            tar.unlink()
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
