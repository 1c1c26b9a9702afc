"""Where manifests come from on the command line: files, folders and standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from colonnade.cli.exits import CommandFailed
from colonnade.errors import Error
from colonnade.resources import manifest
from colonnade.resources.kinds import Kind, by_kind

SUFFIXES = {".yaml", ".yml", ".json"}


def read_texts(sources: tuple[str, ...]) -> list[tuple[str, str]]:
    """(text, name) of each file: of files, of folders (their YAML and JSON files, in order of name) and of `-`.

    Raises:
        CommandFailed: a source is missing, is not text, or is a URL.
    """
    return [text for source in sources for text in _texts(source)]


def read_manifests(sources: tuple[str, ...]) -> list[manifest.Manifest]:
    """All documents of the sources.

    Raises:
        CommandFailed: a source cannot be read, is no manifest, or there is none at all.
    """
    try:
        found = [document for text, name in read_texts(sources) for document in manifest.load(text, name)]
    except Error as error:
        raise CommandFailed(error.message) from None
    if not found:
        raise CommandFailed(f"no manifest in {', '.join(sources)}")
    return found


def served_kind(document: manifest.Manifest) -> Kind:
    """The kind of a document.

    Raises:
        CommandFailed: it is not one that the API serves.
    """
    obj = document.object
    kind = by_kind(obj.get("apiVersion"), obj.get("kind"))
    if kind is None:
        raise CommandFailed(
            f"{document.source}: {obj.get('kind')} of {obj.get('apiVersion')} is not served here; "
            "`colonnade check -f` says what is"
        )
    return kind


def _texts(source: str) -> list[tuple[str, str]]:
    if "://" in source:
        raise CommandFailed(f"{source}: URLs are not read; download the manifest, look at it, and apply the file")
    try:
        if source == "-":
            return [(sys.stdin.read(), "standard input")]
        path = Path(source)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            return [(file.read_text(), str(file)) for file in files]
        return [(path.read_text(), source)]
    except UnicodeDecodeError:
        raise CommandFailed(f"{source} is not a text file") from None
    except OSError as error:
        raise CommandFailed(f"{source}: {error.strerror}") from None
