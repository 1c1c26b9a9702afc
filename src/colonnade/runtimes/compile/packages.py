"""Which runtimes' models are converted, and by which packages.

Apart from the rest of the room, since the start of every replica asks, and most need no more than the answer.
"""

from __future__ import annotations

# The packages that take part in a conversion, by runtime; of several names the first one that is installed counts.
_PACKAGES = {
    "sklearn": (("scikit-learn",), ("skl2onnx",)),
    "xgboost": (("xgboost", "xgboost-cpu"), ("onnxmltools",)),
    "lightgbm": (("lightgbm",), ("onnx",)),
}
RUNTIMES = tuple(_PACKAGES)


def versions(runtime: str) -> dict[str, str] | None:
    """What a conversion for a runtime takes, with versions; None if something is not installed."""
    found: dict[str, str] = {}
    for names in (*_PACKAGES[runtime], ("onnx",), ("onnxruntime",)):
        version = next(filter(None, map(_version, names)), None)
        if version is None:
            return None
        found[names[0]] = version
    return found


def _version(package: str) -> str | None:
    from importlib import metadata  # brings mail and archives, for which no other start shall wait

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
