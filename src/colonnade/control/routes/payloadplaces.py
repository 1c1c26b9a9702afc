"""Where the payload log of a component goes on this machine: which folder, with whose credentials.

Claims, Secrets and service accounts come and change after the services that name them, and for a folder there is no
notice. So what was found is looked at again now and then, and at once when an object changes that it may depend on. A
log that cannot be kept is a condition of its service, and begins when what was missing is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from colonnade.control.models.credentials import Credentials
from colonnade.control.routes.payloadlogs import settings
from colonnade.control.workload import components
from colonnade.control.workload.sources import Source, StorageBlock
from colonnade.control.workqueue import Key
from colonnade.errors import Error, InvalidInput
from colonnade.gateway.payloads.places import Access
from colonnade.gateway.payloads.settings import Logging
from colonnade.security import files
from colonnade.storage import gcs, s3
from colonnade.storage.volumes import Volumes

log = logging.getLogger(__name__)

PERIOD = 10.0  # seconds between looks
KEPT = 600.0  # seconds for which a gateway may still use credentials that were replaced
_ACCOUNT = "default"


@dataclass(slots=True)
class _Known:
    """A service with a payload log: the turn in which it was looked at, what went wrong, and files that it uses."""

    turn: int
    trouble: dict[str, str] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=dict)


class PayloadPlaces:
    """Knows where the payloads of services are logged. Belongs to one event loop."""

    def __init__(
        self,
        credentials: Credentials,
        volumes: Callable[[str], Volumes],
        folder: Path,
        changed: Callable[[Key], None],
        look: Callable[[], None],
    ) -> None:
        """`folder` is for files with credentials, which the gateway reads. `changed` is called with a service whose
        trouble has changed, `look` when `of` is to be asked again.
        """
        self._credentials = credentials
        self._volumes = volumes
        self._folder = folder
        self._changed = changed
        self._look = look
        self._turn = 0
        self._known: dict[Key, _Known] = {}
        self._unused: dict[Path, float] = {}

    def of(self, isvc: Mapping[str, Any], component: str) -> Logging | None:
        """What the gateway is told; None if nothing is logged. See `trouble`."""
        key = Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"])
        known = self._known.setdefault(key, _Known(self._turn))
        known.turn = self._turn
        found, trouble = None, ""
        try:
            asked = settings(isvc, component)
            found = asked if asked is None or asked.url else self._placed(isvc, component, asked)
        except Error as error:
            trouble = f"spec.{component}.logger: payloads are not logged: {error.message}"
        known.access[component] = found.access if found is not None else ""
        if known.trouble.get(component, "") != trouble:
            known.trouble[component] = trouble
            if trouble:
                log.warning("payloads are not logged", extra={"service": str(key), "error": trouble})
            self._changed(key)
        return found

    def stamp(self, service: Key) -> int:
        """Another number when `of` is to be asked again about a service."""
        return self._turn if service in self._known else 0

    def trouble(self, isvc: Mapping[str, Any]) -> str | None:
        """Why payloads of a service are not logged; "" if they are, None if it wants no log."""
        known = self._known.get(Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"]))
        logged = [name for name in components.NAMES if (isvc["spec"].get(name) or {}).get("logger")]
        if known is None or not logged:
            return None
        return "; ".join(filter(None, (known.trouble.get(name) for name in logged)))

    def again(self) -> None:
        """What logs depend on may have changed."""
        if self._known:
            self._turn += 1
            self._look()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            for key in [key for key, known in self._known.items() if known.turn < self._turn]:
                del self._known[key]  # nobody asked for it in the last turn: it is gone, or logs nothing
            self._sweep()
            self.again()

    def _sweep(self) -> None:
        """Remove files with credentials that no service has used for long."""
        now = time.monotonic()
        used = {path for each in self._known.values() for path in each.access.values()}
        there = set(self._folder.glob("*.json"))
        idle = {path for path in there if str(path) not in used}
        self._unused = {path: self._unused.get(path, now) for path in idle}
        for path in [path for path, since in self._unused.items() if now - since >= KEPT]:
            path.unlink(missing_ok=True)

    def _placed(self, isvc: Mapping[str, Any], component: str, found: Logging) -> Logging:
        namespace = isvc["metadata"]["namespace"]
        uri = found.folder
        if uri.startswith("/"):
            return found
        parts = urlsplit(uri)
        if parts.scheme == "file":
            return msgspec.structs.replace(found, folder=parts.path)
        if parts.scheme == "pvc":
            claim = self._volumes(namespace).folder(parts.netloc).resolve()
            folder = (claim / parts.path.lstrip("/")).resolve()
            if not folder.is_relative_to(claim):
                raise InvalidInput(f"logger.storage.path {uri!r} leads out of the claim; write it without `..`")
            return msgspec.structs.replace(found, folder=str(folder))
        extension = isvc["spec"][component]
        storage = extension["logger"].get("storage") or {}
        parameters = {name: value for name, value in (storage.get("parameters") or {}).items() if name != "format"}
        account = storage.get("serviceAccountName") or extension.get("serviceAccountName") or _ACCOUNT
        block = StorageBlock(str(storage.get("key") or ""), tuple(sorted(parameters.items())))
        wanted = Source(uri, account=account, storage=block if storage.get("key") or parameters else None)
        granted = self._credentials.of(namespace, wanted)
        access = msgspec.json.encode(_access(granted.uri, granted.env))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._folder / f"{hashlib.sha256(access).hexdigest()[:16]}.json"
        if not place.exists():
            files.write(place, access)
        return msgspec.structs.replace(found, folder=granted.uri, access=str(place))


def _access(uri: str, env: Mapping[str, str]) -> Access:
    """The settings of the client for a bucket."""
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        config: dict[str, Any] = dict(s3.config_of(parts.netloc, env))
        for name in ("access_key_id", "secret_access_key", "session_token"):
            if value := env.get(f"AWS_{name.upper()}"):
                config[name] = value
        endpoint, _ = s3.endpoint_of(parts.netloc, env)
    elif parts.scheme == "gs":
        config = dict(gcs.config_of(parts.netloc, env, gcs.key_text(env)))
        endpoint = gcs.endpoint_of(env)
    else:
        raise InvalidInput(f"storage of type {parts.scheme!r} takes no payload log; use s3:// or gs://")
    return Access(config, {"allow_http": endpoint.startswith("http://")})
