"""Annotations that cannot be read: refused by one decision, wherever it is asked for."""

from __future__ import annotations

import pytest

from colonnade.cli import refusals
from colonnade.control import admission
from colonnade.control.runtimes.selection import Refusal, Runtimes
from colonnade.control.templates import template
from colonnade.control.templates.annotation_rules import causes
from colonnade.errors import Invalid
from colonnade.resources.kinds import INFERENCE_SERVICE

from ..kserve_objects import isvc

BAD = [
    ("colonnade.dev/direct", "yes", '"true" or "false", not \'yes\''),
    ("colonnade.dev/rollout-paused", "1", '"true" or "false", not \'1\''),
    ("colonnade.dev/sticky", "bogus", "header:NAME or cookie:NAME, not 'bogus'"),
    ("colonnade.dev/shadow", "blue=200", "PERCENT more than 0 and at most 100, not 'blue=200'"),
    ("colonnade.dev/analysis", '{"steps": [30, 10]}', "steps must rise, not [30, 10]"),
    ("colonnade.dev/analysis", "yes", "must be `auto` or JSON"),
    ("serving.knative.dev/rollout-duration", "10", "'10' is no duration; write it like 380s or 1m30s"),
    ("colonnade.dev/gpu-share", "2", "2"),
    ("colonnade.dev/retry-percent", "many", "a whole number from 0 to 100, not 'many'"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_a_bad_value_is_refused_with_field_value_and_fix(name: str, value: str, words: str) -> None:
    service = isvc(annotations={name: value, "team": "x"})
    (cause,) = causes(service)
    assert cause.field == f"metadata.annotations[{name}]"
    assert name in cause.message
    assert words in cause.message

    with pytest.raises(Invalid) as refused:
        admission.admit(INFERENCE_SERVICE, service, None)
    assert refused.value.causes == (cause,)
    checked = refusals.invalid(service)
    assert checked is not None
    assert (checked.field, checked.message) == (cause.field, refused.value.message)
    planned = template.plan(service, "predictor", Runtimes.of([], [], ()))
    assert isinstance(planned, Refusal)
    assert planned.message == cause.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    service = isvc(annotations={"colonnade.dev/sticky": "x", "colonnade.dev/shadow": "=1"})
    assert [cause.field for cause in causes(service)] == [
        "metadata.annotations[colonnade.dev/sticky]",
        "metadata.annotations[colonnade.dev/shadow]",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("colonnade.dev/direct", "false"),
        ("colonnade.dev/sticky", "header:x-user"),
        ("colonnade.dev/sticky", ""),
        ("colonnade.dev/shadow", "latest=0.5"),
        ("colonnade.dev/analysis", "auto"),
        ("serving.knative.dev/rollout-duration", "1m30s"),
        ("colonnade.dev/gpu-share", "0.25"),
        ("somebody.else/analysis", "yes"),
    ],
)
def test_good_values_pass(name: str, value: str) -> None:
    assert not list(causes(isvc(annotations={name: value})))
