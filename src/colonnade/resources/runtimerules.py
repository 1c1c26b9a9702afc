"""The rules of ServingRuntimes and ClusterServingRuntimes, with KServe's texts. Pure.

Source: KServe's `servingruntime_webhook.go`. Two rules look beyond the one object: a format that two runtimes would
take with the same priority, and a `workerSpec` that may not be taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from colonnade.resources.runtime import ClusterServingRuntime, ServingRuntime, SupportedModelFormat
from colonnade.resources.strict import Cause, type_errors_of

_SERVING = "kserve-container"
_PARALLEL_VARIABLES = ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE")


def rules(runtime: ServingRuntime, old: Mapping[str, Any] | None) -> Iterator[Cause]:
    """What is wrong with a runtime, or with its change from `old`."""
    spec = runtime.spec
    if not spec.containers:
        yield "spec.containers", "Required value: a runtime is a container"
    elif not any(container.name == _SERVING for container in spec.containers):
        yield "spec.containers", f"Required value: one container must be named {_SERVING}"
    if spec.disabled:
        return
    for name in _uneven(spec.supported_model_formats or ()):
        where = f"under the {_noun(runtime)} {runtime.metadata.name}"
        yield "spec.supportedModelFormats", f"different priorities assigned for the model format {name} {where}"
    yield from _workers(runtime, old)


def clashes(runtime: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> Iterator[Cause]:
    """Formats for which another runtime of the same scope has the same priority: neither would come first."""
    new = msgspec.convert(runtime, ServingRuntime)
    if new.spec.disabled:
        return
    for obj in others:
        if type_errors_of(ServingRuntime, obj):
            continue
        other = msgspec.convert(obj, ServingRuntime)
        if other.metadata.name == new.metadata.name or not _compete(new, other):
            continue
        for name in _same_priority(new, other):
            pair = f"{_noun(new)}s {other.metadata.name} and {new.metadata.name}"
            scope = f" in namespace {new.metadata.namespace}" if new.metadata.namespace else ""
            text = f"same priority assigned for the model format {name} in the {pair}{scope}"
            yield "spec.supportedModelFormats", f"{text}; give it another priority, or set autoSelect to false"


def _noun(runtime: ServingRuntime) -> str:
    return "servingruntime" if runtime.metadata.namespace else "clusterservingruntime"


def _uneven(formats: Iterable[SupportedModelFormat]) -> Iterator[str]:
    """Names of formats whose entries have different priorities."""
    first: dict[str, int | None] = {}
    for each in formats:
        if not each.auto_select:
            continue
        priority = first.setdefault(each.name, each.priority)
        if None not in (priority, each.priority) and priority != each.priority:
            yield each.name


def _compete(new: ServingRuntime, other: ServingRuntime) -> bool:
    shared = set(new.spec.protocol_versions or ()) & set(other.spec.protocol_versions or ())
    return bool(new.spec.multi_model) == bool(other.spec.multi_model) and not other.spec.disabled and bool(shared)


def _same_priority(new: ServingRuntime, other: ServingRuntime) -> Iterator[str]:
    theirs = [each for each in other.spec.supported_model_formats or () if each.auto_select]
    for mine in new.spec.supported_model_formats or ():
        if not mine.auto_select or mine.priority is None:
            continue
        if any(_key(mine) == _key(each) and each.priority == mine.priority for each in theirs):
            yield mine.name


def _key(each: SupportedModelFormat) -> tuple[str, str | None]:
    return each.name.casefold(), each.version


def _workers(runtime: ServingRuntime, old: Mapping[str, Any] | None) -> Iterator[Cause]:
    spec, kind = runtime.spec, "ServingRuntime" if runtime.metadata.namespace else "ClusterServingRuntime"
    head = f"the {kind} {runtime.metadata.name} is invalid: "
    before = old is not None and not type_errors_of(ClusterServingRuntime, old)
    if before and old is not None and (old.get("spec") or {}).get("workerSpec") and spec.worker_spec is None:
        yield "spec.workerSpec", f"{head}removing workerSpec where it already exists is not allowed"
    if spec.worker_spec is None:
        return
    if len(spec.worker_spec.containers or ()) > 1:
        yield "spec.workerSpec.containers", f"{head}setting multiple containers in workerSpec is not allowed"
    for index, container in enumerate(spec.containers or ()):
        named = {variable.name for variable in container.env or ()} if container.name == _SERVING else set()
        for name in _PARALLEL_VARIABLES:
            if name in named:
                text = f"{head}setting {name} in environment variables is not allowed"
                yield f"spec.containers[{index}].env", text
    for field, text, size in (
        ("pipelineParallelSize", "PipelineParallelSize", spec.worker_spec.pipeline_parallel_size),
        ("tensorParallelSize", "TensorParallelSize", spec.worker_spec.tensor_parallel_size),
    ):
        if size is not None and size < 1:
            yield f"spec.workerSpec.{field}", f"{head}the WorkerSpec.{text} cannot be less than 1({size})"
