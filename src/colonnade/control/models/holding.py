"""Models that are used where they lie: before each start of a process they are held against the scan anew.

What came into the cache stays as it was scanned. A folder of this machine does not: whoever may write to it may
exchange the model while a service sleeps, or before its replica is started again. So each pod notes which places it
reads, with whose consent and under which pin, and no process of it is started before they were looked at. While nothing
has changed that costs a `stat` of each file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from colonnade.control.models.safety import ANNOTATION, Refused, Safety, record
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workload.sources import Source
from colonnade.storage.scan import Report
from colonnade.storage.uri import redacted

PLACED = "colonnade.dev/used-in-place"  # on pods, JSON: see `Held`


class Held(NamedTuple):
    """A model that a pod reads where it lies.

    Attributes:
        path: the file or folder.
        uris: where the manifest has it from: several, if it was put together.
        safety: the annotations that say what it may be and do.
    """

    path: str
    uris: tuple[str, ...]
    safety: dict[str, str]


def held(path: Path, source: Source) -> Held:
    """What was fetched for a source, to be looked at again."""
    uris = [piece.uri for piece in source.pieces] or [source.uri]
    return Held(str(path.absolute()), tuple(map(redacted, uris)), dict(source.safety))


def noted(pod: dict[str, Any], models: Iterable[Held]) -> dict[str, Any]:
    """A pod that says which models it uses where they lie."""
    listed = tuple(models)
    if not listed:
        return pod
    metadata = pod["metadata"]
    annotations = {**metadata["annotations"], PLACED: msgspec.json.encode(listed).decode()}
    return {**pod, "metadata": {**metadata, "annotations": annotations}}


def held_by(pod: Mapping[str, Any]) -> list[Held]:
    """What a pod has noted."""
    text = (pod["metadata"].get("annotations") or {}).get(PLACED)
    return msgspec.json.decode(text, type=list[Held]) if text else []


class Holding:
    """Looks at the models of pods whose processes are about to start."""

    def __init__(self, store: Store, safety: Safety) -> None:
        self._store = store
        self._safety = safety

    async def hold(self, pod: Mapping[str, Any]) -> None:
        """Look at what a stored pod uses where it lies, and note on it what was found if that is something new.

        Raises:
            Refused: its process must not load it now; the message says why and what to do.
        """
        models = held_by(pod)
        if not models:
            return
        reports: list[Report] = []
        refused: Refused | None = None
        for each in models:
            try:
                reports.append(await asyncio.to_thread(self._look, each))
            except Refused as error:
                reports.append(error.report)
                refused = error
        self._note(pod, record(reports))
        if refused is not None:
            raise refused

    def _look(self, model: Held) -> Report:
        return self._safety.require(Path(model.path), model.uris, model.safety)

    def _note(self, pod: Mapping[str, Any], recorded: str) -> None:
        ref = Ref("", "pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        found = self._store.get(ref)
        if found is not None and found["metadata"]["annotations"].get(ANNOTATION) != recorded:
            annotations = {**found["metadata"]["annotations"], ANNOTATION: recorded}
            self._store.update(ref, {**found, "metadata": {**found["metadata"], "annotations": annotations}})
