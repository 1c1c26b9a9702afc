"""Who am I and what may I do: the reviews behind `kubectl auth whoami` and `kubectl auth can-i`.

There is one user, who holds the token and may do what the kinds' verbs allow.
"""

from __future__ import annotations

from typing import Any

import msgspec

from colonnade.control.objects import Object
from colonnade.errors import InvalidInput
from colonnade.resources import kinds
from colonnade.resources.kinds import Kind

USER = "colonnade-admin"
GROUPS = ["system:authenticated"]


def _review(group: str, name: str) -> Kind:
    plural = name.lower() + "s"
    return Kind(
        group=group,
        version="v1",
        kind=name,
        plural=plural,
        singular=name.lower(),
        short_names=(),
        namespaced=False,
        verbs=("create",),
        columns=(),
        struct=msgspec.Struct,
    )


KINDS = (
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
)
"""Kinds that are asked by POST and never stored."""


def find(parts: tuple[str, ...]) -> Kind | None:
    """The review that a path names, or None."""
    for kind in KINDS:
        if parts == ("apis", kind.group, kind.version, kind.plural):
            return kind
    return None


def answer(kind: Kind, body: Any) -> Object:
    """The review with its status. Raises InvalidInput if the body is none."""
    if not isinstance(body, dict) or body.get("kind", kind.kind) != kind.kind:
        raise InvalidInput(f"the body must be a {kind.kind} object")
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"creationTimestamp": None},
        "spec": body.get("spec") or {},
        "status": _STATUS[kind.kind](body.get("spec")),
    }


def _identity(_: Any) -> Object:
    return {"userInfo": {"username": USER, "groups": GROUPS}}


def _access(spec: Any) -> Object:
    asked = spec.get("resourceAttributes") if isinstance(spec, dict) else None
    if not isinstance(asked, dict):
        return {"allowed": True}
    verb, group, plural = asked.get("verb"), asked.get("group", ""), asked.get("resource")
    for kind in kinds.KINDS:
        if plural in (kind.plural, "*") and group in (kind.group, "*") and (verb in kind.verbs or verb == "*"):
            return {"allowed": True}
    return {"allowed": False, "reason": "no kind that is served here takes this verb"}


def _rules(_: Any) -> Object:
    rules = [
        {"verbs": sorted(kind.verbs), "apiGroups": [kind.group], "resources": [kind.plural]} for kind in kinds.KINDS
    ]
    return {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


_STATUS = {
    "SelfSubjectReview": _identity,
    "SelfSubjectAccessReview": _access,
    "SelfSubjectRulesReview": _rules,
}
