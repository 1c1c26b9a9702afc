"""Table output: which columns each kind shows, and the values of an object's row.

`kubectl get` prints what the server answers. Columns of an InferenceService are KServe's printer columns; the core
kinds show what Kubernetes shows for them (`pkg/printers/internalversion`). Ages are written as kubectl writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colonnade.resources.kinds import Kind

Cell = str | int | None
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, its OpenAPI type and format; priority 1 is shown by `-o wide` only."""

    name: str
    type: str
    description: str
    format: str = ""
    priority: int = 0


_NAME = Column("Name", "string", "Name of the object, unique in its namespace.", "name")
_AGE = Column("Age", "string", "Time since the object was created.")

INFERENCE_SERVICE = (
    _NAME,
    Column("URL", "string", "URL of the service."),
    Column("Ready", "string", "Whether the service takes requests."),
    Column("Prev", "integer", "Percent of traffic of the previous revision."),
    Column("Latest", "integer", "Percent of traffic of the latest revision."),
    Column("PrevRolledoutRevision", "string", "The previous revision."),
    Column("LatestReadyRevision", "string", "The latest revision that is ready."),
    _AGE,
)
INFERENCE_GRAPH = (
    _NAME,
    Column("URL", "string", "URL of the graph."),
    Column("Ready", "string", "Whether the graph takes requests."),
    _AGE,
)
TRAINED_MODEL = (
    _NAME,
    Column("URL", "string", "URL that predictions are asked at."),
    Column("Ready", "string", "Whether the model takes requests."),
    _AGE,
)
SERVING_RUNTIME = (
    _NAME,
    Column("Disabled", "boolean", "Whether the runtime is passed over."),
    Column("ModelType", "string", "The first model format that it serves."),
    Column("Containers", "string", "Name of its first container."),
    _AGE,
    Column("Runs", "string", "What runs it on this machine.", priority=1),
)
NAMESPACE = (_NAME, Column("Status", "string", "Phase of the namespace."), _AGE)
POD = (
    _NAME,
    Column("Ready", "string", "Containers that are ready, of all."),
    Column("Status", "string", "State of the replica."),
    Column("Restarts", "string", "Restarts, and when the last one was."),
    _AGE,
    Column("IP", "string", "Address of the replica.", priority=1),
    Column("Node", "string", "Machine that it runs on.", priority=1),
    Column("Nominated Node", "string", "Machine that it waits for.", priority=1),
    Column("Readiness Gates", "string", "Further conditions that hold, of all.", priority=1),
)
NODE = (
    _NAME,
    Column("Status", "string", "Whether replicas can run on it."),
    Column("CPU", "string", "Cores that are claimed, of those that may be."),
    Column("Memory", "string", "Memory that is claimed, of what may be."),
    Column("GPU", "string", "Devices that are claimed, of those that may be."),
    _AGE,
    Column("Version", "string", "Version of the platform."),
)
EVENT = (
    Column("Last Seen", "string", "Time since it last happened."),
    Column("Type", "string", "Normal or Warning."),
    Column("Reason", "string", "CamelCase cause."),
    Column("Object", "string", "The object it is about."),
    Column("Subobject", "string", "Part of the object.", priority=1),
    Column("Source", "string", "Who reported it.", priority=1),
    Column("Message", "string", "What happened."),
    Column("First Seen", "string", "Time since it first happened.", priority=1),
    Column("Count", "string", "How often it happened.", priority=1),
    Column("Name", "string", "Name of the event.", "name", 1),
)
CONFIG_MAP = (_NAME, Column("Data", "string", "Number of values."), _AGE)
CONTROLLER_REVISION = (
    _NAME,
    Column("Controller", "string", "The object whose history it is part of."),
    Column("Revision", "string", "Its number."),
    _AGE,
)
SECRET = (
    _NAME,
    Column("Type", "string", "Use of the secret."),
    Column("Data", "string", "Number of values."),
    _AGE,
)
SERVICE_ACCOUNT = (_NAME, Column("Secrets", "integer", "Number of secrets."), _AGE)
STORAGE_CONTAINER = (
    _NAME,
    Column("Workload", "string", "What it is for."),
    Column("Disabled", "string", "Whether it is passed over."),
    _AGE,
)
LOCAL_MODEL_CACHE = (
    _NAME,
    Column("Source", "string", "Where the model comes from."),
    Column("Available", "integer", "Copies that are there."),
    Column("Total", "integer", "Copies that there are to be."),
    Column("Message", "string", "Progress, or what went wrong."),
    _AGE,
)
LOCAL_MODEL_NODE_GROUP = (_NAME, Column("Limit", "string", "Sum of the models' sizes."), _AGE)


def columns(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind's table."""
    return kind.columns


def cells(kind: Kind, obj: Object, now: datetime) -> list[Cell]:
    """One row of a kind's table, in the order of `columns`; None is a blank cell.

    Args:
        kind: one of `kinds.KINDS`.
        obj: an object of that kind; what it lacks leaves cells blank.
        now: an aware time, from which ages are counted.
    """
    return _ROWS[kind.kind](obj, now)


def duration(seconds: float) -> str:
    """A span as kubectl writes it: `5s`, `5m10s`, `3h5m`, `3d`, `2y10d` (Kubernetes' `duration.HumanDuration`)."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _pair(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def age(timestamp: object, now: datetime) -> str:
    """Time since an RFC 3339 timestamp, or `<unknown>`."""
    if not isinstance(timestamp, str):
        return "<unknown>"
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "<unknown>"
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return duration((now - then).total_seconds())


def _dig(obj: object, *path: str) -> Any:
    for name in path:
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def _objects(value: object) -> list[Object]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _cell(value: object) -> Cell:
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value).lower()
    return value if isinstance(value, str | int) else str(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _name(obj: Object) -> str:
    return _text(_dig(obj, "metadata", "name"))


def _created(obj: Object, now: datetime) -> str:
    return age(_dig(obj, "metadata", "creationTimestamp"), now)


def _inference_service(obj: Object, now: datetime) -> list[Cell]:
    conditions = _objects(_dig(obj, "status", "conditions"))
    traffic = _objects(_dig(obj, "status", "components", "predictor", "traffic"))
    ready: Object = next((item for item in conditions if item.get("type") == "Ready"), {})
    prev: Object = next((item for item in traffic if item.get("tag") == "prev"), {})
    latest: Object = next((item for item in traffic if item.get("latestRevision") is True), {})
    return [
        _name(obj),
        _cell(_dig(obj, "status", "url")),
        _cell(ready.get("status")),
        _cell(prev.get("percent")),
        _cell(latest.get("percent")),
        _cell(prev.get("revisionName")),
        _cell(latest.get("revisionName")),
        _created(obj, now),
    ]


def _inference_graph(obj: Object, now: datetime) -> list[Cell]:
    conditions = _objects(_dig(obj, "status", "conditions"))
    ready: Object = next((item for item in conditions if item.get("type") == "Ready"), {})
    return [_name(obj), _cell(_dig(obj, "status", "url")), _cell(ready.get("status")), _created(obj, now)]


def _serving_runtime(obj: Object, now: datetime) -> list[Cell]:
    """KServe's columns ask for `[*].name`, of which the API server prints the first."""
    formats = [item.get("name") for item in _objects(_dig(obj, "spec", "supportedModelFormats"))]
    containers = [item.get("name") for item in _objects(_dig(obj, "spec", "containers"))]
    return [
        _name(obj),
        _cell(_dig(obj, "spec", "disabled")),
        _cell(next(iter(formats), None)),
        _cell(next(iter(containers), None)),
        _created(obj, now),
        _cell(_dig(obj, "metadata", "annotations", "colonnade.dev/runs")),
    ]


def _namespace(obj: Object, now: datetime) -> list[Cell]:
    return [_name(obj), _cell(_dig(obj, "status", "phase")), _created(obj, now)]


def _pod(obj: Object, now: datetime) -> list[Cell]:
    statuses = _objects(_dig(obj, "status", "containerStatuses"))
    containers = _objects(_dig(obj, "spec", "containers"))
    ready = sum(status.get("ready") is True for status in statuses)
    restarts = sum(count for status in statuses if isinstance(count := status.get("restartCount"), int))
    ended = [_text(_dig(status, "lastState", "terminated", "finishedAt")) for status in statuses]
    since = f" ({age(max(ended), now)} ago)" if restarts and any(ended) else ""
    return [
        _name(obj),
        f"{ready}/{len(containers)}",
        _pod_state(obj, statuses),
        f"{restarts}{since}",
        _created(obj, now),
        _text(_dig(obj, "status", "podIP")) or "<none>",
        _text(_dig(obj, "spec", "nodeName")) or "<none>",
        _text(_dig(obj, "status", "nominatedNodeName")) or "<none>",
        "<none>",
    ]


def _pod_state(obj: Object, statuses: list[Object]) -> str:
    if _dig(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    for status in statuses:
        if waiting := _text(_dig(status, "state", "waiting", "reason")):
            return waiting
        ended = _dig(status, "state", "terminated")
        if isinstance(ended, Mapping):
            return _text(ended.get("reason")) or f"ExitCode:{ended.get('exitCode', 0)}"
    return _text(_dig(obj, "status", "reason")) or _text(_dig(obj, "status", "phase")) or "Unknown"


def _node(obj: Object, now: datetime) -> list[Cell]:
    conditions = _objects(_dig(obj, "status", "conditions"))
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
    amounts = [
        "/".join(_text(_dig(obj, "status", part, name)) or "0" for part in ("requested", "allocatable"))
        for name in ("cpu", "memory", "nvidia.com/gpu")
    ]
    version = _text(_dig(obj, "status", "nodeInfo", "kubeletVersion"))
    return [_name(obj), "Ready" if ready else "NotReady", *amounts, _created(obj, now), version]


def _event(obj: Object, now: datetime) -> list[Cell]:
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = _dig(obj, "series", "lastObservedTime") or obj.get("lastTimestamp") or first
    about = _dig(obj, "involvedObject")
    target = "/".join(part for part in (_text(_dig(about, "kind")).lower(), _text(_dig(about, "name"))) if part)
    source = [_text(_dig(obj, "source", "component")) or _text(obj.get("reportingComponent"))]
    source.append(_text(_dig(obj, "source", "host")))
    return [
        age(last, now),
        _cell(obj.get("type")),
        _cell(obj.get("reason")),
        target,
        _text(_dig(about, "fieldPath")),
        ", ".join(part for part in source if part),
        _text(obj.get("message")).strip(),
        age(first, now),
        _cell(_dig(obj, "series", "count") or obj.get("count") or 1),
        _name(obj),
    ]


def _count(*values: object) -> int:
    return sum(len(value) for value in values if isinstance(value, Mapping))


def _config_map(obj: Object, now: datetime) -> list[Cell]:
    return [_name(obj), _count(obj.get("data"), obj.get("binaryData")), _created(obj, now)]


def _secret(obj: Object, now: datetime) -> list[Cell]:
    return [_name(obj), _text(obj.get("type")) or "Opaque", _count(obj.get("data")), _created(obj, now)]


def _controller_revision(obj: Object, now: datetime) -> list[Cell]:
    owner: Object = next(iter(_objects(_dig(obj, "metadata", "ownerReferences"))), {})
    group = _text(owner.get("apiVersion")).partition("/")[0]
    controller = f"{_text(owner.get('kind')).lower()}.{group}/{_text(owner.get('name'))}"
    return [_name(obj), controller, _cell(obj.get("revision")), _created(obj, now)]


def _service_account(obj: Object, now: datetime) -> list[Cell]:
    return [_name(obj), len(_objects(obj.get("secrets"))), _created(obj, now)]


def _storage_container(obj: Object, now: datetime) -> list[Cell]:
    workload = _text(_dig(obj, "spec", "workloadType")) or "initContainer"
    return [_name(obj), workload, _cell(obj.get("disabled") or False), _created(obj, now)]


def _local_model_cache(obj: Object, now: datetime) -> list[Cell]:
    return [
        _name(obj),
        _cell(_dig(obj, "spec", "sourceModelUri")),
        _cell(_dig(obj, "status", "copies", "available")),
        _cell(_dig(obj, "status", "copies", "total")),
        _cell(_dig(obj, "status", "message")),
        _created(obj, now),
    ]


def _local_model_node_group(obj: Object, now: datetime) -> list[Cell]:
    return [_name(obj), _cell(_dig(obj, "spec", "storageLimit")), _created(obj, now)]


_ROWS: dict[str, Callable[[Object, datetime], list[Cell]]] = {
    "InferenceService": _inference_service,
    "InferenceGraph": _inference_graph,
    "TrainedModel": _inference_graph,
    "ServingRuntime": _serving_runtime,
    "ClusterServingRuntime": _serving_runtime,
    "Namespace": _namespace,
    "Pod": _pod,
    "Node": _node,
    "Event": _event,
    "ConfigMap": _config_map,
    "ControllerRevision": _controller_revision,
    "Secret": _secret,
    "ServiceAccount": _service_account,
    "ClusterStorageContainer": _storage_container,
    "LocalModelCache": _local_model_cache,
    "LocalModelNamespaceCache": _local_model_cache,
    "LocalModelNodeGroup": _local_model_node_group,
}
