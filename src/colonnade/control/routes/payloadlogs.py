"""The payload log of a component: from `logger` and the service's annotations to what the gateway does.

KServe's fields keep their meaning; where files go may also be a folder of this machine. What they cannot say is said by
annotations: the share that is logged, what is blotted out, and how much of a body is kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from colonnade import defaults
from colonnade.control.events import Events
from colonnade.control.models.credentials import Credentials
from colonnade.control.models.sources import PLACEHOLDER, Source, StorageBlock
from colonnade.control.services import components
from colonnade.errors import Error, InvalidInput
from colonnade.gateway.payloads import redaction
from colonnade.gateway.payloads.places import Access
from colonnade.gateway.payloads.settings import Format, Logging
from colonnade.resources import durations
from colonnade.security import files
from colonnade.storage import gcs, s3
from colonnade.storage.volumes import Volumes

log = logging.getLogger(__name__)

FORMATS = ("json", "csv", "parquet")
_BUCKETS = ("s3", "gs")
_POSTED = ("http", "https")
_ACCOUNT = "default"


def settings(isvc: Mapping[str, Any], component: str) -> Logging | None:
    """What a component's `logger` asks for; None without one. `folder` is a URI, or a path behind `PLACEHOLDER`.

    Raises:
        InvalidInput: a field or an annotation makes no sense; the message names it.
    """
    extension = isvc["spec"].get(component) or {}
    logger = extension.get("logger")
    if not logger:
        return None
    metadata = isvc["metadata"]
    annotations = {**(metadata.get("annotations") or {}), **(extension.get("annotations") or {})}
    labels = {**(metadata.get("labels") or {}), **(extension.get("labels") or {})}
    storage = logger.get("storage")
    url = str(logger.get("url") or "")
    if storage is None and urlsplit(url).scheme in _POSTED:
        found = Logging(url=url)
    else:
        found = Logging(folder=_folder(url, storage), format=_format(storage or {}))
    return msgspec.structs.replace(
        found,
        mode=logger.get("mode") or "all",
        headers=tuple(map(str, logger.get("metadataHeaders") or ())),
        annotations=tuple(
            (name, str(annotations[name])) for name in logger.get("metadataAnnotations") or () if name in annotations
        ),
        endpoint=str(labels.get("endpoint") or ""),
        batch=_batch(logger, is_posted=bool(found.url)),
        interval=_interval(logger.get("batchInterval")),
        sample=_number(annotations, defaults.LOG_SAMPLE, 1.0, 1.0),
        limit=int(_number(annotations, defaults.LOG_MAX_BYTES, defaults.LOGGED_BYTES, defaults.OBSERVED_BYTES)),
        redact=_rules(annotations),
        failures=_flag(annotations, defaults.LOG_FAILURES),
    )


def causes(isvc: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the loggers of a service, each with its place."""
    for component in components.NAMES:
        try:
            settings(isvc, component)
        except InvalidInput as error:
            yield f"spec.{component}.logger", error.message


class PayloadLogs:
    """Finds out where the log of a component goes on this machine: which folder, with whose credentials."""

    def __init__(
        self, credentials: Credentials, volumes: Callable[[str], Volumes], folder: Path, events: Events
    ) -> None:
        """`folder`: for files with credentials, which the gateway reads."""
        self._credentials = credentials
        self._volumes = volumes
        self._folder = folder
        self._events = events

    def of(self, isvc: Mapping[str, Any], component: str) -> Logging | None:
        """What the gateway is told; None if nothing is logged. That something is wrong is told by an Event."""
        try:
            found = settings(isvc, component)
            return found if found is None or found.url else self._placed(isvc, component, found)
        except Error as error:
            metadata = isvc["metadata"]
            log.warning("payloads are not logged", extra={"service": metadata["name"], "error": error.message})
            text = f"spec.{component}.logger: payloads are not logged: {error.message}"
            self._events.record(dict(isvc), "PayloadLogFailed", text, "Warning")
            return None

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


def _folder(url: str, storage: Mapping[str, Any] | None) -> str:
    """The URI, or the absolute path, of the folder for files."""
    path = str((storage or {}).get("path") or "")
    scheme = urlsplit(url).scheme
    if url and scheme not in (*_BUCKETS, *_POSTED):
        raise InvalidInput(f"url {url!r} is no place for a payload log; use http(s)://, s3:// or gs://")
    if url and scheme in _BUCKETS:
        return f"{url.rstrip('/')}/{path.strip('/')}" if path else url
    if path.startswith("/"):
        return path
    scheme = urlsplit(path).scheme
    if scheme in ("file", "pvc", *_BUCKETS):
        return path
    if scheme:
        raise InvalidInput(f"storage.path {path!r} is no place for files; use /DIR, file://, pvc://, s3:// or gs://")
    if not path:
        raise InvalidInput("neither url nor storage.path says where payloads are logged; add one")
    return f"{PLACEHOLDER}://{path}"


def _format(storage: Mapping[str, Any]) -> Format:
    given = (storage.get("parameters") or {}).get("format", "json")
    if given not in FORMATS:
        raise InvalidInput(f"storage.parameters.format must be one of {', '.join(FORMATS)}, not {given!r}")
    return cast("Format", given)


def _batch(logger: Mapping[str, Any], *, is_posted: bool) -> int:
    given = logger.get("batchSize") or 0
    if given < 0:
        raise InvalidInput(f"batchSize must not be below 0, not {given}")
    return 0 if is_posted and given == 1 else int(given)


def _interval(text: Any) -> float:
    if not text:
        return 0.0
    try:
        seconds = durations.parse(str(text))
    except ValueError as error:
        raise InvalidInput(f"batchInterval: {error}") from None
    if seconds < 0:
        raise InvalidInput(f"batchInterval must not be below 0, not {text!r}")
    return seconds


def _number(annotations: Mapping[str, Any], name: str, otherwise: float, most: float) -> float:
    text = annotations.get(name)
    if text is None:
        return otherwise
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= most:
        raise InvalidInput(f"annotation {name} must be a number from 0 to {most:g}, not {text!r}")
    return value


def _flag(annotations: Mapping[str, Any], name: str) -> bool:
    text = annotations.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidInput(f'annotation {name} must be "true" or "false", not {text!r}')
    return bool(text == "true")


def _rules(annotations: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        found = redaction.split(str(annotations.get(defaults.LOG_REDACT) or ""))
        redaction.read(found)
    except InvalidInput as error:
        raise InvalidInput(f"annotation {defaults.LOG_REDACT}: {error.message}") from None
    return found
