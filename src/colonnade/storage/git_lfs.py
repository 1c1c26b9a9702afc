"""Git LFS: what a repository keeps beside itself, which is where models in git usually are.

A checkout holds a pointer of three lines in the place of a large file. The batch API names an address for each
(`git-lfs` itself is not needed), and the pointer's SHA-256 verifies what comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from colonnade.errors import LoadFailed
from colonnade.storage.cache import entries
from colonnade.storage.http_session import HttpSession
from colonnade.storage.parts import Part, TryAgain
from colonnade.storage.provider import Order
from colonnade.storage.transfer import gather
from colonnade.storage.trust import tls_context
from colonnade.storage.uri import redacted

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]+\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)
_LARGEST = 1024  # of a pointer's bytes, as the specification says
_TYPE = "application/vnd.git-lfs+json"
_BATCH = 100  # objects of one question


class Pointer(NamedTuple):
    """What stands in the place of a large file."""

    oid: str
    size: int


def pointer_in(text: bytes) -> Pointer | None:
    """The pointer that a file's content is, or None if it is content itself."""
    found = _POINTER.fullmatch(text)
    return Pointer(found.group(1).decode(), int(found.group(2))) if found is not None else None


def _pointers(content: Path) -> Iterator[tuple[str, Pointer]]:
    for file in entries(content):
        if not file.is_symlink() and file.stat().st_size <= _LARGEST and (found := pointer_in(file.read_bytes())):
            yield file.relative_to(content).as_posix(), found


def fill(order: Order, content: Path, scratch: Path, url: str, credentials: tuple[str, str]) -> None:
    """Replace each pointer in a checkout by the file that it stands for.

    Args:
        order: is told the progress.
        content: the checkout.
        scratch: a folder beside it.
        url: the repository's.
        credentials: user and password, or two empty texts.

    Raises:
        TryAgain, Changed, LoadFailed: a file cannot be had.
    """
    pointers = dict(_pointers(content))
    if not pointers:
        return
    with HttpSession(order, tls_context(order.env, "GIT_SSL_CAINFO")) as session:
        wanted = sorted(set(pointers.values()))
        actions: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(wanted), _BATCH):
            actions |= _batch(order, url, credentials, wanted[start : start + _BATCH])
        parts = [_part(session, path, pointer, actions[pointer.oid]) for path, pointer in pointers.items()]
        large = scratch / "large"
        gather(order, parts, large)
    for path in pointers:
        (large / path).replace(content / path)


def _part(session: HttpSession, path: str, pointer: Pointer, action: Mapping[str, Any]) -> Part:
    headers = {str(name): str(value) for name, value in (action.get("header") or {}).items()}

    def read(start: int, stop: int | None) -> Iterator[bytes]:
        return session.read(str(action["href"]), start, stop, None, headers)

    return Part(path, pointer.size, f"lfs sha256:{pointer.oid}", read, f"sha256:{pointer.oid}")


def _batch(order: Order, url: str, credentials: tuple[str, str], wanted: list[Pointer]) -> dict[str, Mapping[str, Any]]:
    """The address of each object, asked in one question."""
    question = {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in wanted],
        "hash_algo": "sha256",
    }
    ask = partial(
        httpx.post,
        f"{url}/info/lfs/objects/batch",
        json=question,
        headers={"Accept": _TYPE, "Content-Type": _TYPE},
        auth=credentials if any(credentials) else None,
        verify=tls_context(order.env, "GIT_SSL_CAINFO"),
        timeout=order.limits.read_timeout,
    )
    shown = redacted(order.uri)
    try:
        answer = ask()
    except httpx.HTTPError as error:
        raise TryAgain(f"Failed to connect to Git LFS at '{shown}'. {error}") from None
    if answer.status_code >= 500 or answer.status_code == 429:
        raise TryAgain(f"Git LFS at '{shown}' answered {answer.status_code}")
    try:
        found = {item["oid"]: item["actions"]["download"] for item in answer.json()["objects"] if "actions" in item}
        missing = [pointer.oid for pointer in wanted if "href" not in found.get(pointer.oid, {})]
    except (ValueError, KeyError, TypeError):
        raise LoadFailed(
            f"{shown} keeps files in Git LFS and its server answered {answer.status_code} to the question for them; "
            "set GIT_USERNAME/GIT_PASSWORD, or upload the files again"
        ) from None
    if missing:
        raise LoadFailed(
            f"{shown} keeps files in Git LFS that its server does not have: {missing[0]}; upload them again"
        )
    return found
