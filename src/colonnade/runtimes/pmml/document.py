"""A PMML document as a tree of elements without namespaces, read with the limits that untrusted XML needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed

_DEEPEST = 200  # nested elements; evaluation recurses as deep


class Unsupported(LoadFailed):
    """The document asks for something that is not evaluated here."""


def read(path: Path) -> Element:
    """The root element.

    Raises:
        LoadFailed: the file is no PMML, is cut off, declares entities (which can name files and grow without bound),
            or nests too deeply.
    """
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\x00" in content[:64]:
        raise LoadFailed(f"{path} declares a document type, or is not UTF-8: entities are not read; save it without")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 (see above)
    except ElementTree.ParseError as error:
        raise LoadFailed(f"{path} is no well-formed XML: {error}; copy it again") from error
    _strip(root, path)
    if root.tag != "PMML":
        raise LoadFailed(f"{path} is no PMML document: its root element is {root.tag}; export the model as PMML")
    return root


def _strip(root: Element, path: Path) -> None:
    """Takes the namespaces, which name the version, off all tags."""
    level = [root]
    for _ in range(_DEEPEST):
        for element in level:
            element.tag = element.tag.rpartition("}")[2]
        level = [child for element in level for child in element]
        if not level:
            return
    raise LoadFailed(f"{path} nests elements more than {_DEEPEST} deep; such a model is not evaluated")


def attribute(element: Element, name: str) -> str:
    """An attribute that must be there.

    Raises:
        LoadFailed: it is not.
    """
    value = element.get(name)
    if value is None:
        raise LoadFailed(f"PMML: a {element.tag} has no attribute {name}; export the model again")
    return value


def number(element: Element, name: str, default: float | None = None) -> float:
    """An attribute that is a number.

    Raises:
        LoadFailed: it is missing and has no default, or is no number.
    """
    text = element.get(name)
    if text is None and default is not None:
        return default
    try:
        return float(attribute(element, name))
    except ValueError:
        raise LoadFailed(f"PMML: {element.tag}.{name} is {text!r}, which is no number") from None


def child(element: Element, tag: str) -> Element:
    """The one child of this name.

    Raises:
        LoadFailed: there is none.
    """
    found = element.find(tag)
    if found is None:
        raise LoadFailed(f"PMML: a {element.tag} has no {tag}; export the model again")
    return found


def content(element: Element) -> Iterator[Element]:
    """The children that mean something: extensions are for other programs."""
    return (each for each in element if each.tag != "Extension")


def only(element: Element, name: str, accepted: tuple[str, ...], default: str) -> str:
    """An attribute with one of the values that are evaluated here.

    Raises:
        Unsupported: it has another one; lists those that can be.
    """
    value = element.get(name, default)
    if value not in accepted:
        raise Unsupported(
            f"PMML: {element.tag}.{name} is {value!r}, which is not evaluated here: use one of {accepted}"
        )
    return value


def words(element: Element) -> list[str]:
    """The elements of an Array: split at white space, quoted where one holds some."""
    text = element.text or ""
    found: list[str] = []
    word, quoted, begun = "", False, False
    position = 0
    while position < len(text):
        letter = text[position]
        if letter == "\\" and text[position + 1 : position + 2] == '"':
            word, begun = word + '"', True
            position += 1
        elif letter == '"':
            quoted, begun = not quoted, True
        elif letter.isspace() and not quoted:
            if begun:
                found.append(word)
            word, begun = "", False
        else:
            word, begun = word + letter, True
        position += 1
    return [*found, word] if begun else found
