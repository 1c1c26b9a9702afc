"""What is logged of a component, and where it goes."""

from __future__ import annotations

from typing import Literal

import msgspec

from colonnade import defaults

Mode = Literal["all", "request", "response"]
Format = Literal["json", "csv", "parquet"]


class Logging(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload log of one route. Either `url` or `folder` says where it goes.

    Attributes:
        mode: requests, responses or both.
        url: where CloudEvents are posted.
        folder: an absolute path, `s3://BUCKET/PATH` or `gs://BUCKET/PATH` for files.
        format: of the files.
        access: file that only this user may read, with the settings of the client for `folder`; "" for none.
        headers: of requests that are logged, in any spelling.
        annotations: of the service that are logged, with their values.
        endpoint: the label `endpoint` of the replicas.
        sample: the share of requests that is logged, 0 to 1.
        redact: what is blotted out: JSON paths, names of headers, `/regular expressions/`. See `redaction`.
        limit: bytes of a body that are logged.
        batch: events in one POST or one file; 0 for one in a POST, and files as large as pays.
        interval: seconds until a batch goes though it is not full; 0 for the default.
        failures: responses are logged that are no success, too.
    """

    mode: Mode = "all"
    url: str = ""
    folder: str = ""
    format: Format = "json"
    access: str = ""
    headers: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    endpoint: str = ""
    sample: float = 1.0
    redact: tuple[str, ...] = ()
    limit: int = defaults.LOGGED_BYTES
    batch: int = 0
    interval: float = 0.0
    failures: bool = False


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Whose requests are logged."""

    namespace: str
    service: str
    component: str
