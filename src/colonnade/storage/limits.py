"""The bounds of one fetch, all visible in one place. Sizes in bytes, times in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from colonnade import defaults

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None if the server does not say), from one thread at a time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a fetch may cost.

    Attributes:
        download_bytes: largest sum of the files that are downloaded.
        unpacked_bytes: largest sum of an archive's members.
        unpacked_ratio: most unpacked bytes per packed byte; asked only above `ratio_from` unpacked bytes, because
            small files of zeros are honest.
        ratio_from: see `unpacked_ratio`.
        unpacked_files: most members of an archive, and most files of a source.
        connections: files and ranges that are downloaded at one time.
        segment_bytes: a larger file is downloaded in ranges of so many bytes.
        checkpoint_bytes: what a kill may cost each connection: after so many bytes they are on the disk and noted.
        connect_timeout: until a connection stands.
        read_timeout: longest silence of the server.
        attempts: tries in a row that bring nothing new, when the connection breaks or the server answers 5xx or 429.
        retry_delay: pause before the second try; it doubles for each further one.
        redirects: most redirects that are followed.
    """

    download_bytes: int = defaults.MAX_DOWNLOAD_BYTES
    unpacked_bytes: int = defaults.MAX_UNPACKED_BYTES
    unpacked_ratio: int = defaults.MAX_UNPACKED_RATIO
    ratio_from: int = 64 * defaults.MIB
    unpacked_files: int = defaults.MAX_UNPACKED_FILES
    connections: int = defaults.DOWNLOAD_CONNECTIONS
    segment_bytes: int = defaults.DOWNLOAD_SEGMENT_BYTES
    checkpoint_bytes: int = defaults.DOWNLOAD_CHECKPOINT_BYTES
    connect_timeout: float = defaults.CONNECT_TIMEOUT
    read_timeout: float = 60.0
    attempts: int = 3
    retry_delay: float = 0.5
    redirects: int = 5
