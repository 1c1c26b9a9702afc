"""The payload log of a component: from `logger` and the service's annotations to what the gateway does. Pure.

KServe's fields keep their meaning; where files go may also be a folder of this machine. What they cannot say is said by
annotations: the share that is logged, what is blotted out, and how much of a body is kept. Which folder of this machine
and whose credentials that means is found out in `payloadplaces`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from colonnade import defaults
from colonnade.control.workload import components
from colonnade.control.workload.sources import PLACEHOLDER
from colonnade.errors import InvalidInput
from colonnade.gateway.payloads import redaction
from colonnade.gateway.payloads.settings import Format, Logging
from colonnade.resources import durations

FORMATS = ("json", "csv", "parquet")
_BUCKETS = ("s3", "gs")
_POSTED = ("http", "https")


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
