"""What helps against a failure: from its reason and its message to what a person can do. Pure.

A hint is given only for a phrase that the platform itself writes, or for a reason of KServe's or Kubernetes' that means
one thing: a wrong hint costs more than none. The replica's log is not searched, since anything may be in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Remedy(NamedTuple):
    """One known failure: the reasons it comes with (none: any), a pattern of its message, and what to do."""

    reasons: tuple[str, ...]
    pattern: str
    hint: str


_REMEDIES = (
    Remedy(
        (),
        r"colonnade\.dev/trust-code",
        'if you trust the file: the annotation colonnade.dev/trust-code: "true", or `colonnade run --trust-code`',
    ),
    Remedy(
        (), r"pip install \W?colonnade\[", "install the extra that the message names into the platform's environment"
    ),
    Remedy(
        (),
        r"does not fetch|is not supported|KServe that this version",
        "put the model where this version reads it: a local path, s3://, gs://, hf://, oci:// or https://",
    ),
    Remedy((), r"storageUri .*(does not exist|names no)|^\S* ?does not exist", "correct storageUri, and apply again"),
    Remedy(
        (),
        r"\b(was|were) (trained|saved) with\b",
        "install the versions it was made with, or train and save it with those installed here",
    ),
    Remedy((), r"\bimage\b", "give the container a `command`, or use a model format that is built in"),
    Remedy((), r"(?i)\bsecret\b|\bconfigmap\b", "create the Secret or ConfigMap that the message names, with that key"),
    Remedy(
        (),
        r"unrecognized arguments|invalid choice",
        "correct `args`: `python -m colonnade.server --help` lists what the server takes",
    ),
    Remedy(
        ("OOMKilled",),
        "",
        "raise `resources.limits.memory`, or give the model less to hold: fewer instances, smaller batches",
    ),
    Remedy(
        (),
        r"nodes are available: Insufficient",
        "`colonnade get nodes` shows what is claimed: lower `resources.requests`, let idle services sleep "
        "(`minReplicas: 0`), or start the platform with more (`--memory`, `--overcommit`)",
    ),
    Remedy((), r"SIGKILL|signal 9\b", "look whether the machine ran out of memory (`dmesg`)"),
    Remedy(
        (),
        r"(?i)connection refused|cannot be reached|HTTP 5\d\d",
        "look whether the server that holds the model answers",
    ),
    Remedy(
        ("NoSupportingRuntime", "RuntimeNotRecognized"),
        "",
        "choose a model format and runtime that are served here: `colonnade check -f` says which",
    ),
)


def advice(failures: list[tuple[str, str]]) -> list[str]:
    """The hints for `(reason, message)` pairs, each once, in order of the table."""
    return [
        remedy.hint
        for remedy in _REMEDIES
        if any(
            (not remedy.reasons or reason in remedy.reasons) and re.search(remedy.pattern, message)
            for reason, message in failures
        )
    ]
