"""Artefact safety: what was fetched is examined before a pod exists that could load it.

The scan itself is `storage.scan`'s; here is who may do what. A service consents by `colonnade.dev/trust-code`; the
operator of the platform may trust places, for instance a bucket that only the team's own pipeline writes to.
`colonnade.dev/model-digest` pins the content. What was found goes into the service's status, so that anybody can see
what a running model was held against.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from colonnade import defaults
from colonnade.control.templates.template import TRANSPORT_ANNOTATION
from colonnade.control.workload.sources import Source
from colonnade.errors import InvalidInput, LoadFailed
from colonnade.resources.served import LOCAL_SCHEMES, scheme_of
from colonnade.storage.scan import Consent, Report, Verdict, digest, examine
from colonnade.storage.uri import local_path, redacted

ANNOTATION = "colonnade.dev/artefact"  # on the service's status: what was scanned, by what, with which result
CONDITION = "ArtefactSafe"
REFUSED = "ArtefactRefused"  # its reason when it is False

_SHOWN = 10  # findings in the status
_STRENGTH = (Consent.NONE, Consent.LOCAL, Consent.GIVEN)


class Refused(LoadFailed):
    """An artefact that no process may load, with the report that says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.message)
        self.report = report


class Fact(NamedTuple):
    """The condition `CONDITION`: its status, reason and message."""

    status: str
    reason: str
    message: str


class Safety:
    """What a platform lets its services load. Safe to use from several threads."""

    def __init__(self, memory: Path, trusted: Sequence[str] = ()) -> None:
        """`memory`: a folder that keeps scans; `trusted`: prefixes of URIs whose artefacts may run code."""
        self._memory = memory
        self._trusted = tuple(trusted)

    def consent(self, annotations: Mapping[str, str], uri: str) -> Consent:
        """What the artefact at `uri` may do for a service with these annotations."""
        return consent(annotations.get(defaults.TRUST_CODE), uri, self._trusted)

    def inspect(self, path: Path, source: Source) -> Report:
        """The report on what was fetched for a source, see `require`."""
        uris = tuple(piece.uri for piece in source.pieces) or (source.uri,)
        return self.require(path, uris, dict(source.safety))

    def require(self, path: Path, uris: Sequence[str], annotations: Mapping[str, str]) -> Report:
        """The report on what was fetched to `path`, from one place or put together from several.

        Blocks while it reads what is new.

        Raises:
            InvalidInput: the pinned digest is none.
            Refused: no process may load it; the message says why and what to do.
        """
        pin = pinned(annotations)
        weakest = min((self.consent(annotations, uri) for uri in uris), key=_STRENGTH.index)
        placed = [local_path(uri) for uri in uris if scheme_of(uri) in LOCAL_SCHEMES] if len(uris) > 1 else []
        named = ", ".join(map(redacted, uris))
        report = examine(path, consent=weakest, pin=pin, memory=self._memory, also=placed, name=named)
        if not report.passed:
            raise Refused(report)
        return report


def consent(annotation: str | None, uri: str, trusted: Sequence[str] = ()) -> Consent:
    """What an artefact may do.

    Args:
        annotation: the value of `colonnade.dev/trust-code`, or None; it wins over the operator's list.
        uri: where the artefact comes from.
        trusted: prefixes of URIs that the operator trusts.
    """
    if annotation is not None:
        return Consent.GIVEN if annotation == "true" else Consent.NONE
    if any(lies_under(uri, prefix) for prefix in trusted):
        return Consent.GIVEN
    return Consent.LOCAL if scheme_of(uri) in LOCAL_SCHEMES else Consent.NONE


def lies_under(uri: str, prefix: str) -> bool:
    """Whether `uri` is `prefix` or lies below it; `..` in either makes it nothing's prefix."""
    place, base = _place(uri), _place(prefix)
    return place is not None and base is not None and (place == base or place.startswith(f"{base.rstrip('/')}/"))


def _place(uri: str) -> str | None:
    if scheme_of(uri) in LOCAL_SCHEMES:
        try:
            return str(local_path(uri).resolve())
        except (InvalidInput, OSError, RuntimeError):
            return None
    scheme, _, rest = uri.partition("://")
    rest = rest.rstrip("/")
    if rest != posixpath.normpath(rest) or "%" in rest or "\\" in rest or "?" in rest or "#" in rest:
        return None
    return f"{scheme.lower()}://{rest}"


def pinned(annotations: Mapping[str, str]) -> str | None:
    """The digest that the artefact must have, or None.

    Raises:
        InvalidInput: the annotation holds no digest.
    """
    pin = annotations.get(defaults.MODEL_DIGEST)
    if pin is not None and not digest.is_digest(pin):
        raise InvalidInput(
            f"annotation {defaults.MODEL_DIGEST} must be sha256: and 64 hexadecimal digits in lower case, not {pin!r}; "
            "`colonnade digest` prints the one of a model"
        )
    return pin


def summary(report: Report) -> dict[str, Any]:
    """What the status says of one artefact."""
    scan = report.scan
    made: dict[str, Any] = {
        "verdict": str(report.verdict),
        "scanner": f"{report.scanner} {report.version}",
        "digest": scan.digest,
        "files": scan.files,
        "bytes": scan.bytes,
        "formats": scan.formats,
        "scannedAt": scan.at,
    }
    if report.message:
        made["message"] = report.message
    if scan.findings:
        shown = scan.findings[:_SHOWN]
        made["findings"] = [{"file": each.file, "risk": str(each.risk), "message": each.message} for each in shown]
        if len(scan.findings) > _SHOWN:
            made["moreFindings"] = len(scan.findings) - _SHOWN
    return made


def record(reports: Iterable[Report]) -> str:
    """What the status says of all artefacts of a revision: a JSON list, or "" if none was scanned."""
    listed = [summary(report) for report in reports]
    return msgspec.json.encode(listed).decode() if listed else ""


def noted(pod: dict[str, Any], reports: Sequence[Report]) -> dict[str, Any]:
    """A pod that says what its models were held against.

    Where the operator trusts their places, our model server is told, which decides by itself else.
    """
    if not reports:
        return pod
    metadata, annotations = pod["metadata"], {**pod["metadata"]["annotations"], ANNOTATION: record(reports)}
    made = {**pod, "metadata": {**metadata, "annotations": annotations}}
    given = all(report.consent is Consent.GIVEN for report in reports)
    container, *others = pod["spec"]["containers"]
    if not given or annotations.get(TRANSPORT_ANNOTATION) != "socket":
        return made
    args = [*(word for word in container.get("args") or [] if word != "--no-trust-code"), "--trust-code"]
    return {**made, "spec": {**pod["spec"], "containers": [{**container, "args": args}, *others]}}


def worst(records: Iterable[str]) -> str:
    """Of what several replicas noted: that one must not load it, else what any of them was held against; or ""."""
    noted = [each for each in records if each]
    refused = (each for each in noted if (found := fact(each)) is not None and found.status == "False")
    return next(refused, next(iter(noted), ""))


def fact(recorded: str) -> Fact | None:
    """The condition that follows from a record; None while nothing was scanned."""
    if not recorded:
        return None
    entries: list[dict[str, Any]] = msgspec.json.decode(recorded)
    for verdict, status, reason in ((Verdict.REFUSED, "False", REFUSED), (Verdict.CONSENTED, "True", "CodeConsented")):
        found = next((entry for entry in entries if entry["verdict"] == verdict), None)
        if found is not None:
            return Fact(status, reason, found.get("message", ""))
    total = sum(entry["files"] for entry in entries)
    return Fact("True", "ArtefactScanned", f"{total} files were scanned; none holds code that needs consent")
