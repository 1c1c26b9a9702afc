"""The files of an artefact: all that a reader of its folder would see, links followed, none of them leading out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from colonnade import defaults
from colonnade.storage.scan.report import Finding, Risk
from colonnade.storage.scan.subject import Subject

FORMAT = "folder"


class _TooMany(Exception):
    pass


@dataclass
class Tree:
    """What was found.

    Attributes:
        files: sorted by name.
        findings: entries that are no file that may be read.
        stamp: a text that changes when a file is exchanged or written to.
    """

    files: list[Subject] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    stamp: str = ""
    newest: float = 0.0


def walk(path: Path, also: Sequence[Path] = ()) -> Tree:
    """The tree of a file or a folder; its links may lead to `also`.

    Raises:
        OSError: the path itself cannot be read.
    """
    root = path.resolve(strict=True)
    tree = Tree()
    if root.is_dir():
        walker = _Walker((root, *(each.resolve() for each in also)), tree)
        try:
            walker.enter(root, "", frozenset())
        except _TooMany:
            tree.findings.append(
                Finding(".", FORMAT, Risk.UNSAFE, f"it holds more than {defaults.MAX_UNPACKED_FILES} files")
            )
    else:
        _take(tree, root, path.name, root.parent)
    tree.files.sort(key=lambda subject: subject.name)
    tree.stamp = "\n".join(_stamp(subject) for subject in tree.files)
    return tree


def _stamp(subject: Subject) -> str:
    found = subject.path.stat()
    return f"{subject.name!r} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _take(tree: Tree, path: Path, name: str, folder: Path) -> None:
    """Note one entry that is no folder."""
    try:
        found = path.stat()
    except OSError as error:
        tree.findings.append(Finding(name, FORMAT, Risk.DAMAGED, f"it cannot be read: {error.strerror}"))
        return
    if not stat.S_ISREG(found.st_mode):
        tree.findings.append(Finding(name, FORMAT, Risk.UNSAFE, "it is a device, a pipe or a socket"))
    elif not os.access(path, os.R_OK):
        tree.findings.append(Finding(name, FORMAT, Risk.DAMAGED, "this user may not read it"))
    else:
        tree.files.append(Subject(path, name, found.st_size, folder))
        tree.newest = max(tree.newest, found.st_ctime)


@dataclass
class _Walker:
    roots: tuple[Path, ...]  # the artefact's own folder first
    tree: Tree

    def enter(self, folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        """Everything below a folder; `above` are the folders on the way to it."""
        found = folder.stat()
        here = (found.st_dev, found.st_ino)
        if here in above:
            self._find(prefix, Risk.UNSAFE, "it is a link in a circle")
            return
        for name, place in self._entries(folder, prefix):
            shown = f"{prefix}{name}"
            if place is None:
                continue
            if place.is_dir():
                self.enter(place, f"{shown}/", above | {here})
            else:
                _take(self.tree, place, shown, self.roots[0])
            if len(self.tree.files) + len(self.tree.findings) > defaults.MAX_UNPACKED_FILES:
                raise _TooMany

    def _entries(self, folder: Path, prefix: str) -> Iterator[tuple[str, Path | None]]:
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._find(prefix, Risk.DAMAGED, f"it cannot be read: {error.strerror}")
            return
        for name in names:
            place = folder / name
            yield name, self._followed(place, f"{prefix}{name}") if place.is_symlink() else place

    def _followed(self, link: Path, name: str) -> Path | None:
        """Where a link leads, if that lies in the artefact."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):
            outside = not self._within(Path(os.path.normpath(link.parent / os.readlink(link))))
            risk = Risk.UNSAFE if outside else Risk.DAMAGED
            self._find(name, risk, f"it is a link to {os.readlink(link)}, where nothing is")
            return None
        if not self._within(target):
            self._find(name, Risk.UNSAFE, f"it is a link to {target}, which lies outside of the model; copy it there")
            return None
        return target

    def _within(self, place: Path) -> bool:
        return any(place.is_relative_to(root) for root in self.roots)

    def _find(self, name: str, risk: Risk, message: str) -> None:
        self.tree.findings.append(Finding(name.rstrip("/") or ".", FORMAT, risk, message))
