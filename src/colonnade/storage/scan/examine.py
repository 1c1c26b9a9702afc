"""`examine`: the one door. Walks an artefact, hashes and looks at each file, and judges what was found.

It blocks, for as long as it takes to read the artefact once; what has not changed since the last time is not read
again. It raises nothing: an artefact that cannot be examined is refused, with the reason.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from colonnade.storage.scan import digest, formats
from colonnade.storage.scan.memory import Memory
from colonnade.storage.scan.report import Consent, Damaged, Finding, Report, Risk, Scan, judge
from colonnade.storage.scan.streams import Bomb
from colonnade.storage.scan.subject import Subject
from colonnade.storage.scan.walk import FORMAT, Tree, walk

_log = logging.getLogger(__name__)

_MOST = 100  # findings of one file


def examine(
    path: Path,
    *,
    consent: Consent = Consent.NONE,
    pin: str | None = None,
    memory: Path | None = None,
    also: Sequence[Path] = (),
    name: str | None = None,
) -> Report:
    """The report on the artefact at `path`, a file or a folder.

    Args:
        path: where it lies on this machine.
        consent: what it may do.
        pin: the digest that it must have, as `digest` describes it; None takes any.
        memory: a folder that keeps scans for the next time; None keeps none.
        name: how messages call it; by default by its path.
        also: paths outside of it to which its links may lead, because whoever put it together pointed there.
    """
    return judge(name or str(path), _scanned(path, Memory(memory), also), consent, pin)


def _scanned(path: Path, memory: Memory, also: Sequence[Path]) -> Scan:
    try:
        tree = walk(path, also)
        digests = memory.digests(path, tree)
        if digests is None:
            digests = {subject.name: _hashed(subject) for subject in tree.files}
            if walk(path, also).stamp != tree.stamp:
                return _unread(tree, "it changed while it was read; try again when it is complete")
            memory.remember_digests(path, tree, digests)
    except OSError as error:
        return _unread(Tree(), f"it cannot be read: {error.strerror or error}")
    if not tree.files and not tree.findings:
        return _unread(tree, "it is empty")
    contents = hashlib.sha256(digest.manifest(digests)).hexdigest()
    scan = memory.scan(contents)
    if scan is None:
        scan = _looked(tree.files, digest.of(digests) if digests else "")
        memory.remember_scan(contents, scan)
    if tree.findings:  # of the folder itself, which its contents do not tell
        return _with(scan, tree.findings)
    return scan


def _with(scan: Scan, findings: list[Finding]) -> Scan:
    return Scan("", scan.files, scan.bytes, scan.formats, (*findings, *scan.findings), scan.at)


def _looked(files: list[Subject], digest_of_all: str) -> Scan:
    counts: Counter[str] = Counter()
    findings: list[Finding] = []
    for subject in files:
        name, found = _look(subject)
        counts[name] += 1
        findings += found
    size = sum(subject.size for subject in files)
    return Scan(digest_of_all, len(files), size, dict(sorted(counts.items())), tuple(findings), _now())


def _look(subject: Subject) -> tuple[str, list[Finding]]:
    """(the format of a file, what was found in it)."""
    found: list[Finding] = []
    name = formats.OTHER
    try:
        format_ = formats.of(subject)
        if format_ is None:
            return name, found
        name = format_.name
        for remark in format_.look(subject):
            found.append(Finding(subject.name, name, remark.risk, remark.message))
            if len(found) == _MOST:
                break
    except Damaged as error:
        found.append(Finding(subject.name, name, Risk.DAMAGED, str(error)))
    except Bomb as error:
        found.append(Finding(subject.name, name, Risk.UNSAFE, str(error)))
    except Exception as error:  # hostile bytes may find a fault of ours: that is no reason to let them pass
        _log.exception("a file could not be examined", extra={"file": subject.name})
        found.append(Finding(subject.name, name, Risk.DAMAGED, f"it cannot be examined: {error}"))
    return name, found


def _hashed(subject: Subject) -> str:
    with subject.open() as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unread(tree: Tree, why: str) -> Scan:
    size = sum(subject.size for subject in tree.files)
    return Scan("", len(tree.files), size, {}, (Finding(".", FORMAT, Risk.DAMAGED, why),), _now())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
