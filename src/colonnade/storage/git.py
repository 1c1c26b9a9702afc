"""`https://HOST/….git`: a shallow clone of a repository's default branch, by the `git` of this machine.

A repository is other people's input to a large program, so that program gets a home without settings, no hooks, no
prompts, no protocol but HTTPS, and bounds on silence and size. The password goes through its environment to a helper
that git asks for this one host; it is on no command line and in no file.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from colonnade.errors import LoadFailed
from colonnade.storage import archive, git_lfs
from colonnade.storage.cache import Ref, entries
from colonnade.storage.limits import Limits
from colonnade.storage.listed import scope_of
from colonnade.storage.parts import TryAgain
from colonnade.storage.provider import Order
from colonnade.storage.transfer import attempt
from colonnade.storage.trust import ca_bundle
from colonnade.storage.uri import redacted

_HINT = "Set GIT_USERNAME/GIT_PASSWORD or use a public repository."
_HELPER = (
    '!f() { test "$1" = get && '
    'printf "username=%s\\npassword=%s\\n" "$COLONNADE_GIT_USERNAME" "$COLONNADE_GIT_PASSWORD"; }; f'
)
_KEPT = ("PATH", "TMPDIR", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY")
_REFUSED = ("Authentication failed", "could not read Username", "could not read Password", "error: 403", "error: 401")
_SETTINGS = (
    "protocol.allow=never",
    "protocol.https.allow=always",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "fetch.fsckObjects=true",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.lowSpeedLimit=1",
)


def is_repository(uri: str) -> bool:
    """Whether an `https://` address is cloned (KServe's rule: it ends with `.git`)."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme.lower() == "https" and parts.path.endswith(".git")


@dataclass(frozen=True, slots=True)
class _Git:
    """Runs git for one repository, in an environment of its own."""

    url: str
    shown: str
    env: Mapping[str, str]
    limits: Limits

    def start(self, folder: Path, *words: str) -> subprocess.Popen[bytes]:
        """Git with these words, in a folder. No file that it writes may pass the limit for a download.

        Raises:
            LoadFailed: there is no git.
        """
        git = shutil.which("git")
        if git is None:
            raise LoadFailed(f"{self.shown} is a git repository, and there is no git on this machine; install git")
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self.url))
        silence = f"http.lowSpeedTime={max(1, round(self.limits.read_timeout))}"
        settings = [*_SETTINGS, silence, "credential.helper="]
        if self.env["COLONNADE_GIT_USERNAME"] or self.env["COLONNADE_GIT_PASSWORD"]:
            settings.append(f"credential.{origin}.helper={_HELPER}")
        options = [word for setting in settings for word in ("-c", setting)]
        process = subprocess.Popen(
            [git, *options, *words],
            cwd=folder,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        largest = self.limits.download_bytes
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        return process

    def run(self, folder: Path, *words: str) -> str:
        """What git prints.

        Raises:
            TryAgain: the server cannot be reached, or falls silent.
            LoadFailed: it refuses, or what it sends is too large.
        """
        process = self.start(folder, *words)
        try:
            out, err = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode != 0:
            raise self._failure(err.decode("utf-8", "replace"))
        return out.decode("utf-8", "replace")

    def _failure(self, said: str) -> Exception:
        lines = [line for line in said.strip().splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
        cause = "; ".join(lines or said.strip().splitlines()[-1:])[:300].replace(self.url, self.shown)
        if any(word in cause for word in _REFUSED):
            return LoadFailed(f"Git authentication failed. {_HINT} ({self.shown}: {cause})")
        if "not found" in cause or "error: 404" in cause:
            return LoadFailed(f"Git resource '{self.shown}' not found. Correct the storageUri ({cause})")
        if "certificate" in cause or "not allowed" in cause or "signal 25" in cause:  # 25: past the limit on a file
            return LoadFailed(f"{self.shown} cannot be cloned: {cause}")
        return TryAgain(f"Failed to connect to Git endpoint '{self.shown}'. {cause}")

    def require_size(self, folder: Path, commit: str) -> None:
        """Refuse a tree that is larger than an archive may be, before it is written out.

        A few kilobytes of git can name billions of files, so git's list is read line by line and cut off.

        Raises:
            LoadFailed: with the limit.
        """
        process = self.start(folder, "ls-tree", "-r", "-l", "-z", "--full-tree", commit)
        assert process.stdout is not None
        total = files = 0
        try:
            for entry in _entries(process.stdout):
                size = entry.split(b"\t", 1)[0].split()[-1]
                files += 1
                total += int(size) if size.isdigit() else 0
                if files > self.limits.unpacked_files or total > self.limits.unpacked_bytes:
                    raise LoadFailed(
                        f"{self.shown} holds more than {self.limits.unpacked_files} files or "
                        f"{self.limits.unpacked_bytes} bytes, the limits for one model"
                    )
        finally:
            process.kill()
            process.communicate()


def _entries(stream: IO[bytes]) -> Iterator[bytes]:
    """The texts of a stream that end with a zero byte."""
    rest = b""
    while block := stream.read(1 << 16):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole


def _environment(home: Path, user: str, password: str, env: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    bundle = ca_bundle(env, "GIT_SSL_CAINFO")
    return {
        **kept,
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "COLONNADE_GIT_USERNAME": user,
        "COLONNADE_GIT_PASSWORD": password,
        **({"GIT_SSL_CAINFO": str(bundle)} if bundle is not None else {}),
    }


def _address(uri: str, env: Mapping[str, str]) -> tuple[str, str, str]:
    """The URL without user and password, the user, and the password, which no URI gives (KServe's rule)."""
    parts = urlsplit(uri)
    user = unquote(parts.username or "") or env.get("GIT_USERNAME", "")
    url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return url, user, env.get("GIT_PASSWORD", "")


class GitProvider:
    """Clones a repository."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the files of the default branch's newest commit, without `.git`.

        What lies in Git LFS comes with it. Submodules do not.
        """
        url, user, password = _address(order.uri, order.env)
        scoped = replace(order, scope=scope_of(url, user, password))
        with order.cache.lock(scoped.identity):
            return attempt(scoped, lambda: _clone(scoped, url, user, password))


def _clone(order: Order, url: str, user: str, password: str) -> Path:
    shown = redacted(order.uri)
    with order.cache.partial(order.identity) as scratch:
        store, content = scratch / "store", scratch / "content"
        content.mkdir()
        git = _Git(url, shown, _environment(scratch, user, password, order.env), order.limits)
        commit = git.run(scratch, "ls-remote", url, "HEAD").partition("\t")[0]
        if not commit:
            raise LoadFailed(f"Failed to fetch model. No model found in {shown}: the repository has no commit")
        known = order.cache.ref(order.identity)
        if known is not None and known.etag == commit:
            return order.cache.artefact(known.key)
        git.run(scratch, "init", "--quiet", "--bare", str(store))
        git.run(store, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", url, "HEAD")
        fetched = git.run(store, "rev-parse", "FETCH_HEAD").strip()
        git.require_size(store, fetched)
        git.run(store, f"--work-tree={content}", "checkout", "--quiet", "--force", fetched, "--", ".")
        _choose(order, content)
        git_lfs.fill(order, content, scratch, url, (user, password))
        archive.require_links_inside(content, shown)
        key = order.cache.keep(content)
    order.cache.remember(order.identity, Ref(key, fetched))
    return order.cache.artefact(key)


def _choose(order: Order, content: Path) -> None:
    """Leave out what the patterns do not take."""
    found = list(entries(content))
    taken = [file for file in found if order.patterns.takes(file.relative_to(content).as_posix())]
    if not taken:
        raise LoadFailed(
            f"Failed to fetch model. No model found in {redacted(order.uri)}: no files that the allow and ignore "
            "patterns take"
        )
    for file in set(found) - set(taken):
        file.unlink()
