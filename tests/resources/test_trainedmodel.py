"""The rules of a TrainedModel, in KServe's texts."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.errors import Invalid
from colonnade.resources.trainedmodel import API_VERSION, KIND
from colonnade.resources.validation import validate
from colonnade.resources.verdicts import check


def model(name: str = "m", **changes: Any) -> dict[str, Any]:
    spec = {"storageUri": "gs://b/m", "framework": "sklearn", "memory": "256Mi", **changes}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"inferenceService": "many", "model": {key: value for key, value in spec.items() if value is not None}},
    }


@pytest.mark.parametrize(
    ("obj", "field", "text"),
    [
        (model("a.b"), "metadata.name", "a Trained Model name must consist of alphanumeric characters"),
        (model(storageUri="ftp://h/m"), "spec.model.storageUri", 'the storage uri given is "ftp://h/m"'),
        (model(memory="much"), "spec.model.memory", "much"),
        (model(memory="-1"), "spec.model.memory", "greater than or equal to 0"),
        (model(framework=None), "spec.model.framework", "Required"),
        (model(storageUri=None), "spec.model.storageUri", "Required"),
    ],
)
def test_what_is_refused(obj: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        validate(obj)
    causes = dict(refused.value.causes)
    assert text in causes[field]


def test_the_memory_may_not_change_but_may_be_written_otherwise() -> None:
    validate(model(memory="1024Mi"), model(memory="1Gi"))
    validate(model(storageUri="s3://b/other"), model())
    with pytest.raises(Invalid, match='The memory was "256Mi" but it is updated to "1Gi"'):
        validate(model(memory="1Gi"), model())


def test_every_field_has_its_verdict() -> None:
    assert {found.verdict for found in check(model())} == {"runs"}
