"""The annotations by which a service says what the gateway does when its replicas fail. Pure.

The rules themselves are `gateway.guard`'s; the defaults and what they mean stand in `defaults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from colonnade import defaults
from colonnade.gateway.guard import Policy

ANNOTATIONS: Mapping[str, tuple[str, float]] = {
    defaults.ANNOTATION_SLOW_START: ("slow_start", 3600.0),
    defaults.ANNOTATION_EJECT_AFTER: ("eject_after", 1_000_000),
    defaults.ANNOTATION_MAX_EJECTED: ("max_ejected_percent", 100),
    defaults.ANNOTATION_RETRY_PERCENT: ("retry_percent", 100),
    defaults.ANNOTATION_BREAKER: ("breaker_after", 1_000_000),
}
"""The annotations: each with the field of `Policy` that it sets, and the largest value."""


def of(annotations: Mapping[str, Any]) -> Policy:
    """The policy that a service's annotations ask for.

    Raises:
        ValueError: a value is not a number in the range; the message names the annotation and the range.
    """
    policy = Policy()
    for name, (field, most) in ANNOTATIONS.items():
        text = annotations.get(name)
        if text is None:
            continue
        kind = type(getattr(policy, field))
        try:
            value = kind(str(text))
        except ValueError:
            value = kind(-1)
        if not 0 <= value <= most:
            what = "a whole number" if kind is int else "a number of seconds"
            raise ValueError(f"annotation {name} must be {what} from 0 to {most:g}, not {text!r}")
        policy = msgspec.structs.replace(policy, **{field: value})
    return policy
