"""What is wrong with the annotations of a service that say how it is reached and rolled out. Pure.

One decision for all who ask: the API refuses such a write, `colonnade check` says so beforehand, and a service that was
stored before there was this rule does not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from colonnade import defaults
from colonnade.control.rollouts import analysis, progress, shadowing
from colonnade.control.workload import claims, policy
from colonnade.errors import InvalidInput
from colonnade.gateway.sticky import Sticky


class Cause(NamedTuple):
    """An annotation that cannot be read: its field as Kubernetes writes it, and why in words."""

    field: str
    message: str


def causes(isvc: Mapping[str, Any]) -> Iterator[Cause]:
    """The annotations of a service that cannot be read."""
    given = isvc["metadata"].get("annotations") or {}
    for name, read in _READERS.items():
        if name not in given:
            continue
        try:
            read({name: given[name]})
        except (InvalidInput, ValueError) as error:
            text = error.message if isinstance(error, InvalidInput) else str(error)
            yield Cause(f"metadata.annotations[{name}]", text)


def _flag(name: str, annotations: Mapping[str, str]) -> None:
    if annotations[name] not in ("true", "false"):
        raise InvalidInput(f'annotation {name} must be "true" or "false", not {annotations[name]!r}')


def _sticky(annotations: Mapping[str, str]) -> None:
    text = annotations[defaults.STICKY]
    if text and Sticky.read(text) is None:
        raise InvalidInput(f"annotation {defaults.STICKY} must be header:NAME or cookie:NAME, not {text!r}")


_READERS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    **{name: partial(_flag, name) for name in (defaults.DIRECT, defaults.ROLLOUT_PAUSED)},
    defaults.STICKY: _sticky,
    defaults.SHADOW: shadowing.wanted,
    defaults.ANALYSIS: analysis.settings,
    progress.DURATION: progress.pace,
    defaults.GPU_SHARE: claims.gpu_share,
    **dict.fromkeys(policy.ANNOTATIONS, policy.of),
}
"""What reads each annotation, and raises InvalidInput or ValueError with the name, the value and the fix."""
