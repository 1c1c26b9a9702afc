"""A storage initializer of the user's own: a command that is called with a URI and a folder, and fills the folder.

It is how KServe's ClusterStorageContainer reaches a scheme that the platform does not know. The command runs as a local
process with the credentials of the fetch, and with nothing else of the control plane's environment but what a process
needs. What it leaves becomes an artefact like any other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from colonnade import defaults
from colonnade.errors import LoadFailed
from colonnade.storage.cache import Ref, entries
from colonnade.storage.provider import Order
from colonnade.storage.uri import redacted

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_TAIL = 2000  # bytes of its output that a message shows


class Initializer(NamedTuple):
    """The command of a ClusterStorageContainer.

    Attributes:
        name: of the ClusterStorageContainer.
        command: program and arguments, before URI and folder.
        env: its own variables.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]


def run(initializer: Initializer, order: Order, granted: Mapping[str, str]) -> Path:
    """Fetch the order's URI by the command. Blocks.

    Args:
        initializer: what to run.
        order: names the URI and the cache.
        granted: the variables with the credentials; they win over the command's own.

    Raises:
        LoadFailed: the command cannot be started, fails, takes too long, or leaves nothing or what is not to be left.
    """
    cache, identity = order.cache, f"{initializer.name}\n{order.identity}"
    with cache.lock(identity), cache.partial(identity) as scratch:
        folder = scratch / "content"
        folder.mkdir()
        environment = {name: os.environ[name] for name in (*_INHERITED, *_PROXIES) if name in os.environ}
        environment |= {**initializer.env, **granted}
        with tempfile.TemporaryFile() as output:
            _call(initializer, order, folder, environment, output)
        _require_content(initializer, folder)
        key = cache.keep(folder)
        cache.remember(identity, Ref(key))
        return cache.artefact(key)


def _call(
    initializer: Initializer, order: Order, folder: Path, environment: Mapping[str, str], output: IO[bytes]
) -> None:
    shown = f"the ClusterStorageContainer {initializer.name}"
    try:
        process = subprocess.Popen(
            [*initializer.command, order.uri, str(folder)],
            env=dict(environment),
            cwd=folder.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise LoadFailed(
            f"{shown} cannot be started: {initializer.command[0]}: {error.strerror}; "
            "its command must be on this machine"
        ) from error
    try:
        code = process.wait(defaults.INITIALIZER_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise LoadFailed(
            f"{shown} did not fetch {redacted(order.uri)} within {defaults.INITIALIZER_TIMEOUT:g} seconds"
        ) from None
    finally:
        _end(process)
    if code:
        raise LoadFailed(f"{shown} failed on {redacted(order.uri)} with exit code {code}: {_tail(output, environment)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _tail(output: IO[bytes], environment: Mapping[str, str]) -> str:
    """The end of what the command said, without the values of its variables: they may be secrets."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    text = output.read().decode("utf-8", "replace").strip()
    hidden = {value for name, value in environment.items() if name not in (*_INHERITED, *_PROXIES) and len(value) > 3}
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, "***")
    return text or "it said nothing"


def _require_content(initializer: Initializer, folder: Path) -> None:
    root = folder.resolve()
    found = False
    for entry in entries(folder):
        found = True
        if not entry.is_symlink() and not entry.is_file():
            raise LoadFailed(f"the ClusterStorageContainer {initializer.name} left {entry.name!r}, which is no file")
        if entry.is_symlink() and not entry.resolve().is_relative_to(root):
            raise LoadFailed(
                f"the ClusterStorageContainer {initializer.name} left the link {entry.name!r}, which leaves its folder"
            )
    if not found:
        raise LoadFailed(f"the ClusterStorageContainer {initializer.name} left no file")
