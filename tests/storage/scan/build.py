"""Files made by hand where their frameworks are not installed: protocol buffers, zip archives, safetensors, HDF5."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colonnade.storage.scan import Report, Risk, examine


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {self.marker}",)


def scanned(path: Path, content: bytes | None = None) -> Report:
    """The report on a file, written first if `content` is given."""
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return examine(path)


def risks(report: Report) -> set[Risk]:
    return {finding.risk for finding in report.scan.findings}


def said(report: Report) -> str:
    return "; ".join(finding.message for finding in report.scan.findings)


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*made, value))


def field(number: int, content: bytes | str) -> bytes:
    """A field of a protocol buffer that has a length."""
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_external(location: str, offset: int = 0, length: int = 8, *, nested: bool = False) -> bytes:
    """A model with one tensor in another file; `nested`: in a branch of an `If`."""
    pairs = {"location": location, "offset": str(offset), "length": str(length)}
    tensor = b"".join(field(13, field(1, key) + field(2, value)) for key, value in pairs.items())
    graph = field(5, field(8, "w") + tensor)
    if nested:
        graph = field(1, field(4, "If") + field(5, field(6, graph)))
    return varint(1 << 3) + varint(8) + field(7, graph)


def saved_model(*operators: str, functions: tuple[str, ...] = ()) -> bytes:
    nodes = b"".join(field(1, field(1, "n") + field(2, name)) for name in operators)
    library = b"".join(field(3, field(1, "f") + field(2, name)) for name in functions)
    return field(2, field(2, nodes + field(2, field(1, library))))


def safetensors(tensors: Mapping[str, Any], data: bytes) -> bytes:
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def hdf5(size: int, content: bytes = b"") -> bytes:
    """A superblock of version 2 that says `size`."""
    head = b"\x89HDF\r\n\x1a\n" + bytes((2, 8, 8, 0)) + struct.pack("<4Q", 0, 2**64 - 1, size, 48) + b"\0\0\0\0"
    return head + content


def global_code(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def torch_pickle() -> bytes:
    """What `torch.save({"w": tensor})` writes as `data.pkl`, opcode by opcode (protocol 2)."""
    return (
        b"\x80\x02}U\x01w"
        + global_code("torch._utils", "_rebuild_tensor_v2")
        + b"((U\x07storage"
        + global_code("torch", "FloatStorage")
        + b"U\x010U\x03cpuK\x04tQK\x00K\x04\x85K\x01\x85\x89"
        + global_code("collections", "OrderedDict")
        + b")RtRs."
    )


def evil_pickle(marker: Path, protocol: int = 4) -> bytes:
    return pickle.dumps(Evil(marker), protocol)
