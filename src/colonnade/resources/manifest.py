"""Reading and writing manifests: YAML and JSON, several documents in a file, nothing lost.

YAML is read as Kubernetes reads it (`sigs.k8s.io/yaml`): YAML 1.1 booleans, but no dates and no base-60 numbers, keys
become strings, and a key that is given twice is an error instead of a silent choice. What is written reads back to the
same object here and there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from colonnade.errors import InvalidInput
from colonnade.resources.strict import MAX_DEPTH

MAX_NODES = 500_000
"""Parts of a document after anchors are followed; more is a bomb, not a manifest."""

_BOOL = re.compile(r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF")
_INT = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULL = re.compile(r"~|null|Null|NULL|")
_MERGE = re.compile(r"<<")
_MARKER = re.compile(r"---(\s|$)")
_TEMPLATE = re.compile(r"\{\{?\s*[\w.$]+\s*\}?\}|<[\w -]+>")

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file.

    Attributes:
        object: the object as JSON.
        source: the file, or what stands for it.
        index: the document's number in the file, from 1.
        line: the line that the document begins on, from 1.
    """

    object: dict[str, Any]
    source: str
    index: int
    line: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that is no object, and why: the message names file, document, line and fix."""

    source: str
    index: int
    line: int
    message: str


class _Unusable(Exception):
    """Why a document cannot be read, and on which of its lines (from 0) if that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with Kubernetes' reading of plain scalars, and keys that may be given once."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own hook

    def json_mapping(self, node: yaml.MappingNode) -> Iterator[dict[str, Any]]:
        result: dict[str, Any] = {}
        yield result
        own = {id(key) for key, _ in node.value}
        self.flatten_mapping(node)
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if id(key_node) in own:
                if key in seen:
                    raise _Unusable(f"key {key!r} is given twice; keep one", key_node.start_mark.line)
                seen.add(key)
            result[key] = self.construct_object(value_node, deep=True)

    def _key(self, node: yaml.Node) -> str:
        value = self.construct_object(node, deep=True)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        raise _Unusable("a key must be text; quote it", node.start_mark.line)

    def json_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node).replace("_", "")
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
            digits = f"0o{digits[1:]}"
        try:
            return sign * int(digits, 0)
        except ValueError:
            raise _Unusable(f"{text[:40]!r} is no number; quote it if it is text", node.start_mark.line) from None

    def json_float(self, node: yaml.ScalarNode) -> float:
        text = self.construct_scalar(node).lower()
        if "inf" in text or "nan" in text:
            raise _Unusable(f"{text!r} has no form in JSON; quote it if it is text", node.start_mark.line)
        number = float(text)
        if math.isinf(number):
            raise _Unusable(f"{text[:40]!r} is too large a number; quote it if it is text", node.start_mark.line)
        return number

    def json_text(self, node: yaml.ScalarNode) -> str:
        return str(self.construct_scalar(node))

    def refuse(self, node: yaml.Node) -> None:
        raise _Unusable(f"tag {node.tag!r} has no meaning in a manifest; leave it out", node.start_mark.line)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.json_mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.json_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.json_float)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.json_text)
for _tag in ("binary", "omap", "pairs", "set"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.refuse)
_Loader.add_constructor(None, _Loader.refuse)


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """PyYAML's safe dumper, which quotes whatever any YAML reader might take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text.strip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _class, _with_short in ((_Loader, False), (_Dumper, True)):
    _short = re.compile(rf"(?:{_BOOL.pattern}|[yYnN])$") if _with_short else re.compile(rf"(?:{_BOOL.pattern})$")
    _class.add_implicit_resolver("tag:yaml.org,2002:bool", _short, list("yYnNtTfFoO"))
    _class.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"(?:{_INT.pattern})$"), list("-+0123456789"))
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(rf"(?:{_FLOAT.pattern})$"), list("-+.0123456789")
    )
    _class.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(rf"(?:{_NULL.pattern})$"), ["~", "n", "N", ""])
    _class.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(rf"(?:{_MERGE.pattern})$"), ["<"])


def load(text: str, source: str) -> list[Manifest]:
    """The objects of a file, YAML or JSON; the items of a List stand for themselves; empty documents are passed over.

    Args:
        text: the file's text.
        source: what errors call it.

    Raises:
        InvalidInput: names file, document, line and fix of the first document that cannot be read.
    """
    found: list[Manifest] = []
    for document in documents(text, source):
        if isinstance(document, Unreadable):
            raise InvalidInput(document.message)
        found.append(document)
    return found


def documents(text: str, source: str) -> Iterator[Manifest | Unreadable]:
    """As `load`, but a document that cannot be read is yielded as such, and the next one is gone on with."""
    for index, (line, part) in enumerate(_split(text), 1):
        try:
            value = _read(part)
            objects = [] if value is None else _objects(value)
        except _Unusable as failure:
            at = line + (failure.line or 0)
            where = f"{source}, document {index}, line {at}"
            yield Unreadable(source, index, at, f"{where}: {failure.message}")
        else:
            yield from (Manifest(obj, source, index, line) for obj in objects)


def read(text: str) -> Any:
    """One document as the JSON value that it stands for, whatever it is of.

    Raises:
        InvalidInput: it is neither YAML nor JSON, holds a key twice, is too deep or too large.
    """
    try:
        return _read(text)
    except _Unusable as failure:
        where = "" if failure.line is None else f" in line {failure.line + 1}"
        raise InvalidInput(f"the document cannot be read{where}: {failure.message}") from None


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Documents with the line (from 1) that each begins on; split at `---` as kubectl splits."""
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    start = 0
    for number, line in enumerate(lines):
        if _MARKER.match(line) and number > start:
            yield start + 1, "".join(lines[start:number])
            start = number
    yield start + 1, "".join(lines[start:])


def _read(text: str) -> Any:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _plain(json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant))
        except json.JSONDecodeError:
            pass  # flow YAML also begins so
        except RecursionError:
            raise _Unusable(f"nested deeper than {MAX_DEPTH} levels") from None
    _refuse_deep_flow(text)
    try:
        return _plain(yaml.load(text, Loader=_Loader))  # noqa: S506  the loader is a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Unusable(_explain(text, error, mark), mark.line if mark else None) from None
    except yaml.YAMLError as error:
        raise _Unusable(f"no YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise _Unusable(f"nested deeper than {MAX_DEPTH} levels") from None


def _explain(text: str, error: yaml.MarkedYAMLError, mark: Any) -> str:
    lines = text.splitlines()
    line = lines[mark.line].strip() if mark is not None and mark.line < len(lines) else ""
    near = "" if mark is None else "\n".join(lines[max(0, mark.line - 1) : mark.line + 1])
    if template := _TEMPLATE.search(near):
        return f"no YAML: {template[0]!r} is a placeholder; fill it in, or quote the value"
    if line.startswith("\t") or (mark is not None and mark.line < len(lines) and "\t" in lines[mark.line]):
        return "no YAML: a tab stands where YAML wants spaces; indent with spaces"
    return f"no YAML: {error.problem or error.context}; mend the line, or quote its value"


def _refuse_deep_flow(text: str) -> None:
    """libyaml's composer recurses in C, so depth is counted on its flat event stream first where it could matter."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    mark = event.start_mark
                    raise _Unusable(f"nested deeper than {MAX_DEPTH} levels", mark.line if mark else None)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return  # loading says what is wrong


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise _Unusable(f"key {double!r} is given twice; keep one")
    return result


def _no_constant(name: str) -> Any:
    raise _Unusable(f"{name} has no form in JSON; quote it if it is text")


def _plain(value: Any) -> Any:
    """The value, once it is sure to be of a manifest's depth and size, aliases included."""
    waiting = [(value, 1)]
    count = 0
    while waiting:
        part, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise _Unusable(f"nested deeper than {MAX_DEPTH} levels")
        if count > MAX_NODES:
            raise _Unusable(f"more than {MAX_NODES} parts; split it, or use fewer anchors")
        below = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting.extend((item, depth + 1) for item in below)
    return value


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        raise _Unusable("an object is expected, with apiVersion, kind and metadata")
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise _Unusable(f"{name} is not set; every object names its {name}")
    if value["apiVersion"] == "v1" and value["kind"] == "List" and isinstance(value.get("items"), list):
        return [obj for item in value["items"] for obj in _objects(item)]
    if not isinstance(value.get("metadata", {}), dict):
        raise _Unusable("metadata must be an object with a name")
    return [value]


def dump(obj: Any, form: Literal["yaml", "json"]) -> str:
    """An object as text, in its own order of keys; `load` reads it back to the same."""
    if form == "json":
        return json.dumps(obj, indent=4, ensure_ascii=False) + "\n"
    return str(yaml.dump(obj, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20))
