"""What Keras would run of a saved model: layers that hold Python code, and names outside of Keras.

Sources: Keras' `serialization_lib` (`class_name`, `module`, `registered_name`, `config`); a `Lambda` layer holds
marshalled bytecode. `deserialize_keras_object` imports the module that a file names, so only those pass here whose
members are layers and the like. A whole model in HDF5 holds the same as one attribute; it is not parsed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

import msgspec

from colonnade.storage.scan.report import Damaged, Risk
from colonnade.storage.scan.subject import Remark, Subject

_ROOMS = frozenset(
    {"activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "models", "ops"}
    | {"optimizers", "quantizers", "random", "regularizers"}
)
_TOP = frozenset({"Sequential", "Functional", "Model", "DTypePolicy", "Variable", "KerasTensor", "InputSpec"})
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def config(text: bytes) -> Iterator[Remark]:
    """The `config.json` of a model."""
    try:
        waiting = [msgspec.json.decode(text)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise Damaged(f"its config.json cannot be read: {error}") from None
    said: set[str] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if not isinstance(value, dict):
            continue
        waiting.extend(value.values())
        what = _demand(value)
        if what and what not in said:
            said.add(what)
            yield Remark(Risk.CODE, what)


def _demand(value: dict[str, object]) -> str:
    kind, module = value.get("class_name"), value.get("module")
    if kind is None:
        return ""
    if kind in ("Lambda", "__lambda__"):
        return f"it has a {kind} layer, which holds Python bytecode"
    if module is None or _trusted(str(module)) or (module == "keras" and kind in _TOP):
        return ""
    return f"it asks for {module}.{value.get('config') if kind == 'function' else kind}"


def _trusted(module: str) -> bool:
    parts = module.removeprefix("keras.src.").removeprefix("keras.").split(".")
    return module.startswith("keras.") and parts[0] in _ROOMS


def hdf5(subject: Subject) -> Iterator[Remark]:
    """An HDF5 file is as long as its superblock says; a whole Keras model in it needs consent, weights do not."""
    with subject.mapped() as content:
        if not content[:8] == _HDF5_MAGIC:
            raise Damaged("it is no HDF5 file")
        end = _end(content)
        if end is not None and end > len(content):
            raise Damaged(f"it has {len(content)} bytes, and its superblock speaks of {end}")
        if content.find(b"model_config") >= 0:
            yield Remark(
                Risk.CODE,
                "it holds a whole Keras model, whose layers may hold Python bytecode and are not looked into in HDF5; "
                "save it as .keras, or only its weights",
            )


def _end(content: mmap) -> int | None:
    """The end-of-file address of the superblock (versions 0 to 3 of the HDF5 file format), if it is there."""
    if len(content) < 48:
        raise Damaged("it ends inside its superblock")
    version = content[8]
    if version in (0, 1):
        begin, width = (40 if version == 0 else 44), content[13]
    elif version in (2, 3):
        begin, width = 28, content[9]
    else:
        return None
    if width not in (4, 8):
        return None
    # Four addresses follow: base, free space or extension, end of file, driver or root.
    begin = begin if width == 8 else {40: 32, 44: 36, 28: 20}[begin]
    return int.from_bytes(content[begin : begin + width], "little")
