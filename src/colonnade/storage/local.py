"""Local paths and `file://`: used where they lie; only an archive is unpacked into the cache."""

from __future__ import annotations

from pathlib import Path

from colonnade.errors import LoadFailed
from colonnade.storage import archive
from colonnade.storage.cache import digest_of, key_of
from colonnade.storage.provider import Order
from colonnade.storage.uri import local_path


class LocalProvider:
    """Serves paths of this machine."""

    def fetch(self, order: Order) -> Path:
        """The path itself, or the unpacked folder of an archive file."""
        path = local_path(order.uri)
        try:
            is_file = path.is_file()
            if not is_file and not path.is_dir():
                raise LoadFailed(
                    f"{path} does not exist (storageUri {order.uri}); give the path of a model file or folder on this "
                    "machine, absolute or relative to the folder in which the command was started"
                )
        except PermissionError as error:
            raise LoadFailed(f"{path} may not be read by this user; allow it, or move the model") from error
        if is_file and archive.is_archive(path.name):
            return self._unpacked(path, order)
        return path

    def _unpacked(self, path: Path, order: Order) -> Path:
        try:
            key = key_of(digest_of(path), None)
        except OSError as error:
            raise LoadFailed(f"{path} cannot be read: {error.strerror}") from error
        uri = str(path)
        with order.cache.lock(uri):
            done = order.cache.artefact(key)
            if done.is_dir():
                return done
            with order.cache.partial(uri) as folder:
                content = folder / "content"
                content.mkdir()
                archive.unpack(path, content, str(path), order.limits)
                return order.cache.publish(content, key)
