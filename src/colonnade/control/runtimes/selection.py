"""Which runtime serves a model, as KServe's controller chooses it. Pure.

Sources: KServe's `predictor_model.go` (which runtimes support a model, and their order) and `predictor.go` (named
runtimes; the texts and reasons of failures).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec

from colonnade import defaults

_PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")  # lowest first; one that is not known comes after them

_CHOICE = frozenset({"supportedModelFormats", "protocolVersions", "disabled", "multiModel"})


class Refusal(NamedTuple):
    """Why a valid manifest cannot run here. `reason` is one of KServe's failure reasons."""

    reason: str
    message: str


@dataclass(frozen=True)
class Runtime:
    """A ServingRuntime, or a ClusterServingRuntime if it has no namespace.

    Attributes:
        spec: as the API stores it.
        annotations: of its metadata.
        created: its creation time, RFC 3339; "" for one that was always there.
    """

    name: str
    namespace: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def kind(self) -> str:
        """As `apiVersion` and `kind` name it."""
        return "ServingRuntime" if self.namespace else "ClusterServingRuntime"

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that it says it speaks; none stands for all."""
        return tuple(self.spec.get("protocolVersions") or ())

    @property
    def lowest_protocol(self) -> str:
        """What a service gets that asks for none; "" if the runtime names none."""
        return min(self.protocols, key=_rank, default="")

    def speaks(self, protocol: str) -> bool:
        """Whether a service may ask it for a protocol."""
        return not self.protocols or protocol in self.protocols

    def serves(self, name: str, version: str | None, *, named: bool) -> bool:
        """Whether it takes a format: exact strings, and only what it offers by itself unless it was `named`."""
        offers = [each for each in self.spec.get("supportedModelFormats") or () if named or each.get("autoSelect")]
        return any(each["name"] == name and version in (None, each.get("version")) for each in offers)

    def priority(self, name: str) -> int | None:
        """Of the first entry for a format."""
        entries = self.spec.get("supportedModelFormats") or ()
        return next((each.get("priority") for each in entries if each["name"] == name), None)

    @property
    def digest(self) -> str:
        """Of all that it gives to a replica: 16 hex digits. What it may be chosen for is no part of that."""
        given = {key: value for key, value in self.spec.items() if key not in _CHOICE}
        content = [self.kind, self.name, given, self.annotations.get(defaults.REQUIREMENTS)]
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]

    def snapshot(self) -> dict[str, Any]:
        """The runtime as a JSON value, for `Runtimes.pinned`."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "spec": dict(self.spec),
            "annotations": dict(self.annotations),
        }


@dataclass(frozen=True)
class Runtimes:
    """All runtimes that a service may choose from.

    Attributes:
        namespaced: the ServingRuntimes of the service's namespace.
        cluster: the ClusterServingRuntimes.
        programs: the model servers that this machine has, by the names of their programs.
        pin: the runtime that serves whatever the others are: that of an earlier revision.
    """

    namespaced: tuple[Runtime, ...] = ()
    cluster: tuple[Runtime, ...] = ()
    programs: frozenset[str] = frozenset()
    pin: Runtime | None = None

    @classmethod
    def of(
        cls,
        namespaced: Iterable[Mapping[str, Any]],
        cluster: Iterable[Mapping[str, Any]],
        programs: Iterable[str] = (),
    ) -> Runtimes:
        """From objects as the API stores them."""
        return cls(tuple(map(read, namespaced)), tuple(map(read, cluster)), frozenset(programs))

    def pinned(self, snapshot: Mapping[str, Any]) -> Runtimes:
        """The same, but a model gets the runtime that was written down by `Runtime.snapshot`."""
        kept = Runtime(snapshot["name"], snapshot["namespace"], snapshot["spec"], snapshot["annotations"])
        return replace(self, pin=kept)


class Wanted(NamedTuple):
    """What a model asks of its runtime.

    Attributes:
        name, version: the model's format.
        protocol: what the manifest asks for, or None.
        runtime: the name of the runtime that the manifest asks for, or "".
        multi_model: one replica is to serve several models.
        multi_node: one replica is to span several nodes.
    """

    name: str
    version: str | None = None
    protocol: str | None = None
    runtime: str = ""
    multi_model: bool = False
    multi_node: bool = False

    @property
    def shown(self) -> str:
        """The format, for people."""
        return f"{self.name} {self.version}" if self.version else self.name


def read(obj: Mapping[str, Any]) -> Runtime:
    """The runtime that a stored object is."""
    metadata = obj["metadata"]
    return Runtime(
        metadata["name"],
        metadata.get("namespace") or "",
        obj.get("spec") or {},
        metadata.get("annotations") or {},
        metadata.get("creationTimestamp") or "",
    )


def choose(wanted: Wanted, runtimes: Runtimes) -> Runtime | Refusal:
    """The runtime for a model; reasons and texts of a refusal are KServe's, and then what to do."""
    if runtimes.pin is not None:
        return runtimes.pin
    if wanted.runtime:
        return _named(wanted, runtimes)
    found = next(iter(candidates(wanted, runtimes)), None)
    if found is None:
        asked = f"modelFormat {wanted.shown}" + (f", protocolVersion {wanted.protocol}" if wanted.protocol else "")
        text = "No runtime found to support specified framework/version"
        return Refusal("NoSupportingRuntime", f"{text}: {asked}{_near(wanted, runtimes)}")
    return found


def candidates(wanted: Wanted, runtimes: Runtimes) -> list[Runtime]:
    """The runtimes that a model may get if it names none, best first; those of the namespace before the cluster's."""
    return [
        runtime
        for group in (runtimes.namespaced, runtimes.cluster)
        for runtime in _ordered([each for each in group if _fits(each, wanted)], wanted.name)
    ]


def _fits(runtime: Runtime, wanted: Wanted) -> bool:
    return (
        not runtime.spec.get("disabled")
        and bool(runtime.spec.get("multiModel")) == wanted.multi_model
        and bool(runtime.spec.get("workerSpec")) == wanted.multi_node
        and runtime.speaks(wanted.protocol or "v1")
        and runtime.serves(wanted.name, wanted.version, named=False)
    )


def _ordered(fitting: list[Runtime], name: str) -> list[Runtime]:
    """By protocol, then the newest first, then by name; and all that, stably, by falling priority."""
    by_name = sorted(fitting, key=lambda each: each.name)
    by_age = sorted(by_name, key=lambda each: each.created, reverse=True)
    by_protocol = sorted(by_age, key=lambda each: _rank(each.lowest_protocol))
    return sorted(by_protocol, key=lambda each: _falling(each.priority(name)))


def _falling(priority: int | None) -> tuple[bool, int]:
    return (True, 0) if priority is None else (False, -priority)


def _rank(protocol: str) -> int:
    return _PROTOCOLS.index(protocol) if protocol in _PROTOCOLS else len(_PROTOCOLS)


def _named(wanted: Wanted, runtimes: Runtimes) -> Runtime | Refusal:
    everywhere = (*runtimes.namespaced, *runtimes.cluster)
    found = next((each for each in everywhere if each.name == wanted.runtime), None)
    if found is None:
        text = f"Waiting for runtime to become available: {wanted.runtime} is not known here"
        return Refusal("RuntimeNotRecognized", f"{text}; create it, or leave `runtime` out to have one chosen.")
    if found.spec.get("disabled"):
        text = f"Specified runtime is disabled: {found.kind} {found.name} has `disabled: true`"
        return Refusal("RuntimeDisabled", f"{text}; set it to false, or leave `runtime` out to have one chosen.")
    if wanted.protocol and not found.speaks(wanted.protocol):
        spoken = f"{found.name} speaks {', '.join(found.protocols)}, not {wanted.protocol}"
        text = "Specified runtime does not support specified protocol version"
        return Refusal("NoSupportingRuntime", f"{text}: {spoken}")
    if not found.serves(wanted.name, wanted.version, named=True):
        text = "Specified runtime does not support specified framework/version"
        return Refusal("NoSupportingRuntime", f"{text}: {found.name} serves no {wanted.shown}")
    return found


def _near(wanted: Wanted, runtimes: Runtimes) -> str:
    """What would be served instead, for the reader of a refusal."""
    offers = [each for each in (*runtimes.namespaced, *runtimes.cluster) if each.serves(wanted.name, None, named=True)]
    if not offers:
        return ""
    usable = [each for each in offers if not each.spec.get("disabled")]
    if not usable:
        return f"; {', '.join(each.name for each in offers)} serves it and is disabled"
    ways = sorted(
        f"{entry['name']}{' ' + entry['version'] if entry.get('version') else ''} "
        f"over {', '.join(each.protocols) or 'any protocol'} by {each.name}"
        for each in usable
        for entry in each.spec["supportedModelFormats"]
        if entry["name"] == wanted.name
    )
    return f"; there is {'; '.join(dict.fromkeys(ways))}"
