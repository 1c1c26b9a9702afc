"""The list of the models of a folder: who writes it, and the server that reads it, agree on it here.

It is the list that KServe's controller writes for its agent, with the place, the version and the consent of each model
beside it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from colonnade.errors import LoadFailed

LISTING = "models.json"


class ModelSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What KServe's list says of a model."""

    storage_uri: str = ""
    framework: str = ""
    memory: str = ""


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """One model of the list.

    Attributes:
        model_name: the name that requests use.
        model_spec: as its manifest has it.
        path: where the artefact lies; "" for a file or folder of the model's name beside the list.
        version: another one makes `load` read the artefact again.
        trust_code: consent to run code of the artefact; None if neither given nor refused.
    """

    model_name: str
    model_spec: ModelSpec = ModelSpec()
    path: str = ""
    version: str = ""
    trust_code: bool | None = None


def read(folder: Path) -> dict[str, Listed]:
    """The list of a folder by name; empty if there is none.

    Raises:
        LoadFailed: it cannot be read.
    """
    file = folder / LISTING
    try:
        listed = msgspec.json.decode(file.read_bytes(), type=list[Listed])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LoadFailed(f"{file} is no list of models: {error}") from None
    return {each.model_name: each for each in listed}
