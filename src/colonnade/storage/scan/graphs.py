"""Models that are graphs of operators in protocol buffers: ONNX, and TensorFlow's SavedModel.

An operator computes, with few exceptions; these and what lies outside of the file are looked for. Field numbers are
those of `onnx.proto`, and of TensorFlow's `saved_model.proto`, `meta_graph.proto`, `graph.proto` and `function.proto`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from colonnade.storage.scan.protobuf import LENGTH, Message, below, fields, whole
from colonnade.storage.scan.report import Damaged, Risk
from colonnade.storage.scan.subject import Remark, Subject

_DEEPEST = 64

# ONNX: numbers of fields that hold messages on the way to tensors.
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL = 13

_FILE_OPERATORS = frozenset({"ReadFile", "WriteFile", "MatchingFiles", "DebugIdentityV3"})
_PYTHON_OPERATORS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


def onnx(subject: Subject) -> Iterator[Remark]:
    """Parsed to the end; tensors that lie in other files must lie whole in the model's folder."""
    with subject.mapped() as content:
        graphs = 0
        for field in fields(whole(content)):
            if field.wire != LENGTH:
                continue
            if field.number == _MODEL_GRAPH:
                graphs += 1
                yield from _graph(subject, field.message, 0)
            elif field.number == _MODEL_TRAINING:
                for graph in (*below(field.message, (1,)), *below(field.message, (2,))):
                    yield from _graph(subject, graph, 0)
            elif field.number == _MODEL_FUNCTIONS:
                for node in below(field.message, (7,)):
                    yield from _node(subject, node, 0)
        if graphs != 1:
            raise Damaged("it is no ONNX model: it has no graph")


def _graph(subject: Subject, graph: Message, depth: int) -> Iterator[Remark]:
    if depth > _DEEPEST:
        raise Damaged("its graphs lie in each other too deeply")
    for field in fields(graph):
        if field.wire != LENGTH:
            continue
        if field.number == _GRAPH_NODE:
            yield from _node(subject, field.message, depth)
        elif field.number == _GRAPH_INITIALIZER:
            yield from _tensor(subject, field.message)
        elif field.number == _GRAPH_SPARSE:
            for tensor in (*below(field.message, (1,)), *below(field.message, (2,))):
                yield from _tensor(subject, tensor)


def _node(subject: Subject, node: Message, depth: int) -> Iterator[Remark]:
    for attribute in below(node, (_NODE_ATTRIBUTE,)):
        for field in fields(attribute):
            if field.wire != LENGTH:
                continue
            if field.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                yield from _graph(subject, field.message, depth + 1)
            elif field.number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                yield from _tensor(subject, field.message)


def _tensor(subject: Subject, tensor: Message) -> Iterator[Remark]:
    external: dict[str, str] = {}
    locations: set[str] = set()
    for field in fields(tensor):
        if field.number == _TENSOR_EXTERNAL and field.wire == LENGTH:
            pair = {each.number: each.message.text() for each in fields(field.message) if each.wire == LENGTH}
            external[pair.get(1, "")] = pair.get(2, "")
            locations.update([pair.get(2, "")] if pair.get(1) == "location" else ())
    if external and not locations:
        raise Damaged("the place of its weights in another file is missing")
    for location in sorted(locations):  # one, in an honest file
        yield from _external(subject, location, external)


def _external(subject: Subject, location: str, external: dict[str, str]) -> Iterator[Remark]:
    parts = PurePosixPath(location.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        yield Remark(Risk.UNSAFE, f"it reads the file {location!r}, which lies outside of its folder")
        return
    place = subject.path.parent.joinpath(*parts.parts)
    try:
        size = place.stat().st_size
        inside = place.resolve().is_relative_to(subject.folder.resolve())
        begin, length = int(external.get("offset", "0")), int(external.get("length", "0"))
    except (OSError, ValueError):
        raise Damaged(f"the file {location} with its weights is missing") from None
    if not inside:
        yield Remark(Risk.UNSAFE, f"it reads the file {location!r}, which lies outside of its folder")
    elif begin < 0 or length < 0 or begin + length > size:
        raise Damaged(f"the file {location} with its weights has {size} bytes, and {begin + length} are needed")


def saved_model(subject: Subject) -> Iterator[Remark]:
    """TensorFlow's `saved_model.pb`: operators that touch files or call Python; its variables must be there."""
    with subject.mapped() as content:
        operators: set[str] = set()
        metas = 0
        for graph in below(whole(content), (2, 2)):
            metas += 1
            for path in ((1, 2), (2, 1, 3, 2)):
                operators.update(each.text() for each in below(graph, path))
    if not metas:
        raise Damaged("it is no SavedModel: it has no graph")
    for operator in sorted(operators & (_FILE_OPERATORS | _PYTHON_OPERATORS)):
        what = "calls Python" if operator in _PYTHON_OPERATORS else "touches files"
        yield Remark(Risk.CODE, f"its graph has the operator {operator}, which {what}")
    yield from _variables(subject, bool(operators & {"VarHandleOp", "VariableV2"}))


def _variables(subject: Subject, needed: bool) -> Iterator[Remark]:
    folder = subject.path.parent / "variables"
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    shards = [name for name in names if name.startswith("variables.data-")]
    wanted = {int(name.rpartition("-of-")[2]) for name in shards if name.rpartition("-of-")[2].isdigit()}
    if (needed or names) and ("variables.index" not in names or wanted != {len(shards)}):
        raise Damaged(f"its variables are not complete: {folder.name}/ holds {', '.join(names) or 'nothing'}")
    yield from ()
