"""What a scan says, and what follows from it. Pure.

A scan's findings depend on the artefact alone, so they are kept and used again; whether they stand in the way depends
on who consents to what, and is decided each time.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from colonnade.defaults import MODEL_DIGEST, TRUST_CODE

SCANNER = "colonnade-scan"
VERSION = "1"  # of the rules: another version scans again what an earlier one has passed

_SHOWN = 5  # findings in a message


class Risk(enum.StrEnum):
    """What a finding means for whoever loads the file."""

    CODE = "code"  # it can run code that nobody would look for in it
    PROGRAM = "program"  # it is code, and says so: `model.py`
    DAMAGED = "damaged"  # it is not whole, or not what its name says
    UNSAFE = "unsafe"  # it reaches out of its folder, or would hang or fill a machine


class Consent(enum.Enum):
    """What the artefact may do.

    GIVEN: the user or the operator trusts who made it. LOCAL: the operator placed it on this machine, so what says that
    it is code may run, and nothing else. NONE: nothing.
    """

    GIVEN = "given"
    LOCAL = "local"
    NONE = "none"


class Verdict(enum.StrEnum):
    """What became of a scan."""

    PASSED = "Passed"
    CONSENTED = "Consented"  # it can run code, and may
    REFUSED = "Refused"


_LIFTED = {
    Consent.GIVEN: frozenset({Risk.CODE, Risk.PROGRAM}),
    Consent.LOCAL: frozenset({Risk.PROGRAM}),
    Consent.NONE: frozenset[Risk](),
}


class Damaged(Exception):
    """A file is not whole, or not what its format says; the message says where."""


class Finding(msgspec.Struct, frozen=True):
    """Something about one file.

    Attributes:
        file: its path in the artefact, or its name.
        format: what it was read as.
        risk: what it means.
        message: what is there, for people.
    """

    file: str
    format: str
    risk: Risk
    message: str


class Scan(msgspec.Struct, frozen=True):
    """What was found, whoever asks.

    Attributes:
        digest: `sha256:` and 64 hex digits, see `digest`; "" if the artefact cannot be read.
        files: how many there are.
        bytes: of all files.
        formats: how many files were read as each format; `other` counts those that were only hashed.
        findings: see `Finding`.
        at: when, RFC 3339.
    """

    digest: str
    files: int
    bytes: int
    formats: dict[str, int]
    findings: tuple[Finding, ...]
    at: str


class Report(msgspec.Struct, frozen=True):
    """A scan and what follows from it.

    Attributes:
        verdict: whether a process may load the artefact.
        consent: by which that was decided.
        scan: what was found.
        message: why it is refused and what to do; what consent was used for; or "".
        scanner: what looked.
        version: of its rules.
    """

    verdict: Verdict
    consent: Consent
    scan: Scan
    message: str = ""
    scanner: str = SCANNER
    version: str = VERSION

    @property
    def passed(self) -> bool:
        """Whether a process may load the artefact."""
        return self.verdict is not Verdict.REFUSED


def judge(name: str, scan: Scan, consent: Consent, pin: str | None) -> Report:
    """The report on a scanned artefact.

    Args:
        name: how messages name it.
        pin: the digest that it must have, or None.
    """
    lifted = _LIFTED[consent]
    standing = [each for each in scan.findings if each.risk not in lifted]
    if pin is not None and pin != scan.digest:
        return Report(Verdict.REFUSED, consent, scan, _mismatch(name, scan, pin))
    if standing:
        return Report(Verdict.REFUSED, consent, scan, _refusal(name, standing))
    if scan.findings:
        return Report(Verdict.CONSENTED, consent, scan, f"{name} can run code, and may: {_listed(scan.findings)}")
    return Report(Verdict.PASSED, consent, scan)


def _mismatch(name: str, scan: Scan, pin: str) -> str:
    if not scan.digest:
        return f"{name} cannot be read whole, so it has no digest to hold against {pin}: {_listed(scan.findings)}"
    return (
        f"{name} has the digest {scan.digest}, and the annotation {MODEL_DIGEST} pins {pin}: this is not the "
        "model that was pinned. If the change is wanted, pin the new digest"
    )


def _refusal(name: str, findings: Sequence[Finding]) -> str:
    worst = [each for each in findings if each.risk in (Risk.DAMAGED, Risk.UNSAFE)]
    if worst:
        return f"{name} is not loaded: {_listed(worst)}"
    return (
        f"{name} can run code of its own when it is loaded: {_listed(findings)}. If you trust who made it, consent "
        f'with the annotation {TRUST_CODE}: "true"; its code then runs with the rights of the model server'
    )


def _listed(findings: Sequence[Finding]) -> str:
    shown = "; ".join(f"{each.file}: {each.message}" for each in findings[:_SHOWN])
    more = len(findings) - _SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown
