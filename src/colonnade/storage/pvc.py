"""`pvc://CLAIM/PATH`: a folder or file in a named folder of this machine, used where it lies, as a mount is."""

from __future__ import annotations

from pathlib import Path

from colonnade.errors import LoadFailed
from colonnade.storage.provider import Order


class PvcProvider:
    """Serves what lies in the volumes that the order knows."""

    def fetch(self, order: Order) -> Path:
        """The path in the claim's folder. Nothing is copied and no archive unpacked: KServe mounts a claim.

        Raises:
            LoadFailed: there is no such claim or path, or the path leaves the claim's folder, by `..` or by a link.
        """
        claim, _, path = order.uri.partition("://")[2].partition("/")
        root = order.volumes.folder(claim)
        if "\0" in path:
            raise LoadFailed(f"{order.uri!r} names no path; correct the storageUri")
        try:
            place = Path(root, path.strip("/")).resolve(strict=True)
        except (FileNotFoundError, NotADirectoryError):
            raise LoadFailed(f"{order.uri}: there is no {path!r} in the claim's folder {root}") from None
        except (OSError, RuntimeError) as error:
            raise LoadFailed(f"{order.uri} cannot be read: {error}") from error
        if not place.is_relative_to(root.resolve()):
            raise LoadFailed(f"{order.uri} leaves the claim's folder {root}; refused")
        return place
