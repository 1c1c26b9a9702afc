"""TorchServe's archives (`.mar`): the model in one that needs no code but PyTorch's own.

An archive is a zip file whose `MAR-INF/MANIFEST.json` names a serialized model and a handler. Without a handler, or
with TorchServe's `base_handler`, which hands the request's rows to the model and its result back, the model alone is
served. All other handlers decide what a request means; they are programs for TorchServe, and nothing else answers as
they do.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

import msgspec

from colonnade import defaults
from colonnade.errors import LoadFailed
from colonnade.runtimes import declared

SUFFIX = ".mar"
STORE = "model-store"  # the folder of archives in what KServe's TorchServe is given

_MANIFEST = "MAR-INF/MANIFEST.json"
_MANIFEST_BYTES = 1 << 20
_BASE_HANDLER = "base_handler"
_SERIALIZED = (".pt", ".pth", ".pt2")
_BLOCK = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, msgspec.MsgspecError)
_FIX = (
    "save the model by torch.export or torch.jit and serve that, or run TorchServe itself by a runtime whose `command` "
    "starts it"
)


class _Model(msgspec.Struct, rename="camel"):
    serialized_file: str | None = None
    handler: str | None = None
    model_file: str | None = None


class _Manifest(msgspec.Struct):
    model: _Model


def archive_at(path: Path) -> Path | None:
    """The one archive at `path`: the file itself, or that in the folder or in its `model-store`; None without one.

    Raises:
        LoadFailed: there are several, of which a configuration of TorchServe chooses.
    """
    if path.is_file():
        return path if path.suffix == SUFFIX else None
    found = sorted((*path.glob(f"*{SUFFIX}"), *path.glob(f"{STORE}/*{SUFFIX}")))
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise LoadFailed(f"{path} holds several archives of TorchServe ({names}); name the file of one, or {_FIX}")
    return found[0] if found else None


def unpacked(archive: Path, folder: Path) -> Path:
    """Put an archive's model, and the declaration of its inputs if it has one, into an empty folder; gives its file.

    Raises:
        LoadFailed: the archive is damaged, or needs code of its own; names that.
    """
    try:
        with zipfile.ZipFile(archive) as found:
            name = _model_in(archive, found)
            file = _copied(archive, found, name, folder)
            if declared.FILE in found.namelist():
                _copied(archive, found, declared.FILE, folder)
            return file
    except _BROKEN as error:
        raise LoadFailed(f"{archive} is no complete archive of TorchServe: {error}; make it again") from error
    except OSError as error:
        raise LoadFailed(f"{archive} cannot be unpacked: {error.strerror or error}") from error


def _model_in(archive: Path, found: zipfile.ZipFile) -> str:
    with found.open(_MANIFEST) as file:
        model = msgspec.json.decode(file.read(_MANIFEST_BYTES), type=_Manifest).model
    handler = (model.handler or _BASE_HANDLER).partition(":")[0]
    if handler != _BASE_HANDLER:
        raise LoadFailed(f"{archive} is served by its handler {handler}, a program for TorchServe; {_FIX}")
    if model.model_file:
        raise LoadFailed(f"{archive} holds weights for the Python program {model.model_file}, and no graph; {_FIX}")
    name = model.serialized_file or ""
    if not name.endswith(_SERIALIZED):
        accepted = ", ".join(_SERIALIZED)
        raise LoadFailed(f"{archive} holds the model {name or 'nowhere'}, which does not end in {accepted}; {_FIX}")
    return name


def _copied(archive: Path, found: zipfile.ZipFile, name: str, folder: Path) -> Path:
    """One member in the folder, under the last part of its name."""
    member, place = found.getinfo(name), folder / PurePosixPath(name).name
    most = max(64 * defaults.MIB, member.compress_size * defaults.MAX_UNPACKED_RATIO)
    if member.file_size > most:
        raise LoadFailed(
            f"{archive}: {name} unpacks to more than {defaults.MAX_UNPACKED_RATIO} times its size; refused"
        )
    with found.open(member) as content, place.open("xb") as target:
        while block := content.read(_BLOCK):  # no more than the size that it declares
            target.write(block)
    return place
