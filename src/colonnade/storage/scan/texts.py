"""Models and settings in text: JSON, XML (PMML), LightGBM's own format, MLflow's `MLmodel`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.parsers import expat

import msgspec
import yaml

from colonnade.storage.scan.report import Damaged, Risk
from colonnade.storage.scan.subject import Remark, Subject

_LONGEST_SETTINGS = 16 << 20  # files that are settings and not weights

# Flavours of MLflow whose loader reads a file of a framework, which is examined as such.
_PLAIN_LOADERS = frozenset(
    f"mlflow.{flavour}"
    for flavour in ("sklearn", "xgboost", "lightgbm", "onnx", "tensorflow", "pytorch", "catboost", "statsmodels")
)


def json(subject: Subject) -> Iterator[Remark]:
    """Complete JSON; what a configuration of transformers says about code of its own."""
    with subject.mapped() as content:
        try:
            msgspec.json.decode(content, type=msgspec.Raw)  # checks it and builds nothing
        except msgspec.DecodeError as error:
            raise Damaged(f"it is no complete JSON: {error}") from None
        except RecursionError:
            raise Damaged("its values lie in each other too deeply") from None
    if PurePosixPath(subject.name).name.endswith("config.json"):
        if subject.size > _LONGEST_SETTINGS:
            yield Remark(Risk.CODE, "it is too large for a configuration to be looked into for code that it brings")
        else:
            yield from _remote_code(subject)


class _Config(msgspec.Struct):
    """`auto_map` of transformers: which class of which Python file in the folder, or on a hub, stands for which of
    its own."""

    auto_map: dict[str, Any] | None = None


def _remote_code(subject: Subject) -> Iterator[Remark]:
    try:
        config = msgspec.json.decode(subject.path.read_bytes(), type=_Config)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return  # another program's file of that name
    brought = sorted({name for value in (config.auto_map or {}).values() for name in _names(value)})
    if brought:
        yield Remark(Risk.CODE, f"it brings Python code of its own: {', '.join(brought[:5])} (auto_map)")


def _names(value: Any) -> Iterator[str]:
    """The classes in a value of `auto_map`: one, or a list in which some may be missing."""
    yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))


def xml(subject: Subject) -> Iterator[Remark]:
    """Well-formed XML that defines no entities: they can fill a machine, or read files of it."""
    entities: list[str] = []
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = lambda name, *_: entities.append(name)
    parser.ExternalEntityRefHandler = lambda *_: entities.append("an external one") or 1  # type: ignore[func-returns-value]
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        with subject.open() as file:
            while not entities and (part := file.read(1 << 20)):
                parser.Parse(part, False)
            if not entities:
                parser.Parse(b"", True)
    except expat.ExpatError as error:
        if not entities:
            raise Damaged(f"it is no complete XML: {error}") from None
    if entities:
        yield Remark(Risk.UNSAFE, f"it defines the XML entity {entities[0]!r}; remove its DOCTYPE")


def lightgbm(subject: Subject) -> Iterator[Remark]:
    """LightGBM's text ends its trees with a line that says so."""
    with subject.mapped() as content:
        if content.rfind(b"\nend of trees") < 0:
            raise Damaged("it ends before its last tree")
    yield from ()


def mlmodel(subject: Subject) -> Iterator[Remark]:
    """MLflow's description of a model: which loader reads it, and which code comes with it."""
    if subject.size > _LONGEST_SETTINGS:
        raise Damaged("it is too large for a description of a model")
    try:
        described = yaml.load(subject.path.read_bytes(), Loader=_Plain)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Damaged(f"it is no complete YAML: {error}") from None
    if not isinstance(described, dict) or not isinstance(described.get("flavors"), dict):
        raise Damaged("it names no flavors")
    flavors = described["flavors"]
    function = flavors.get("python_function")
    if isinstance(function, dict):
        loader = str(function.get("loader_module", ""))
        if loader not in _PLAIN_LOADERS:
            yield Remark(Risk.CODE, f"its Python function is loaded by {loader or 'code of its own'}")
    for name, flavor in sorted(flavors.items(), key=lambda item: str(item[0])):
        if isinstance(flavor, dict) and (flavor.get("code") or flavor.get("model_code_path")):
            yield Remark(Risk.CODE, f"its flavor {name} brings Python code")


class _Plain(yaml.SafeLoader):
    """YAML without references, which a few lines of can fill a machine."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references are not taken")
        return super().compose_node(parent, index)
