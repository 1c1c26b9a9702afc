"""Files that are code or bring it: Python, machine code, and requirements that come from elsewhere than an index."""

from __future__ import annotations

import re
from collections.abc import Iterator

from colonnade.storage.scan.report import Risk
from colonnade.storage.scan.subject import Remark, Subject

# A name with extras, then a version and a condition; anything else in a line is an option, a path or a URL.
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[\w\s,.-]*\])?\s*([<>=!~(][^@/\\]*)?(;.*)?")
_LONGEST = 1 << 20


def program(subject: Subject) -> Iterator[Remark]:
    """A `model.py`, which a server imports."""
    yield Remark(Risk.PROGRAM, "it is a Python program")


def native(subject: Subject) -> Iterator[Remark]:
    """A library or a compiled graph."""
    yield Remark(Risk.PROGRAM, "it is machine code")


def requirements(subject: Subject) -> Iterator[Remark]:
    """`requirements.txt`: packages from the configured index pass; what names its own place may be anybody's code."""
    with subject.open() as file:
        text = file.read(_LONGEST).decode("utf-8", "replace").replace("\\\n", " ")
    for line in text.splitlines():
        wanted = line.partition(" #")[0].strip()
        if wanted and not wanted.startswith("#") and not _REQUIREMENT.fullmatch(wanted):
            yield Remark(Risk.PROGRAM, f"it installs what is on no index, or from another one: {wanted[:80]!r}")
