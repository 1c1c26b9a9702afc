"""TrainedModel: one more model in the server of a multi-model InferenceService. KServe's v1alpha1 schema and rules.

Source of the rules and texts: KServe's `trained_model_webhook.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from colonnade.errors import InvalidInput
from colonnade.resources import served
from colonnade.resources.fields import EMULATED, RUNS, Resource, field_doc
from colonnade.resources.kserve_texts import SCHEMES as KSERVE_SCHEMES
from colonnade.resources.meta import Condition, Int64, ObjectMeta
from colonnade.resources.podspec import Quantity
from colonnade.resources.quantity import parse as parse_quantity
from colonnade.resources.strict import Cause, invalid, type_errors_of

API_VERSION = "serving.kserve.io/v1alpha1"
KIND = "TrainedModel"

_NAME = "[a-zA-Z0-9_-]+"
_ONE_MODEL = ("huggingface",)  # formats whose server finds its one model without a storageUri


class ModelSpec(Resource, frozen=True):
    """The model, and what it needs."""

    storage_uri: Annotated[str, field_doc("Where the model lies.", rule=served.storage_uri)]
    framework: Annotated[
        str, field_doc("Framework of the model, such as `sklearn`.", RUNS, "one server may serve several frameworks")
    ]
    memory: Annotated[
        Quantity,
        field_doc(
            "Memory that the model needs; it may not be changed.",
            RUNS,
            "counted against the memory limit of the service's predictor; without a limit there is nothing to exceed",
        ),
    ]


class TrainedModelSpec(Resource, frozen=True):
    """The service that serves the model, and the model."""

    inference_service: Annotated[str, field_doc("The multi-model InferenceService that serves it.", RUNS)]
    model: Annotated[ModelSpec, field_doc("The model.")]


class TrainedModelStatus(Resource, frozen=True):
    """Where the model is served, and how it fares."""

    url: Annotated[str | None, field_doc("URL that predictions are asked at.")] = None
    address: Annotated[dict[str, str] | None, field_doc("The same on this machine.")] = None
    conditions: Annotated[list[Condition] | None, field_doc("Observations, such as Ready.")] = None
    observed_generation: Annotated[Int64 | None, field_doc("Generation that the status is about.")] = None
    annotations: Annotated[dict[str, str] | None, field_doc("Further facts.")] = None


class TrainedModel(Resource, frozen=True):
    """One more model in a multi-model server."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    spec: Annotated[TrainedModelSpec, field_doc("The model and its server.")]
    status: Annotated[
        TrainedModelStatus | None,
        field_doc("What is served.", EMULATED, "written by the control plane; passed over in a manifest"),
    ] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = API_VERSION
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = KIND


def parse(obj: Mapping[str, Any]) -> TrainedModel:
    """The typed view of a TrainedModel; unknown fields are passed over.

    Raises:
        Invalid: a field has the wrong type or a required one is missing; `causes` names each with its path.
    """
    causes = type_errors_of(TrainedModel, obj)
    if causes:
        raise invalid(obj, causes)
    return msgspec.convert(obj, TrainedModel)


def several(predictor: Mapping[str, Any]) -> bool:
    """Whether a (defaulted) predictor serves the models of TrainedModels: KServe's rule, it names no model itself."""
    model = predictor.get("model") or {}
    own = model.get("storageUri") or model.get("storage") or predictor.get("storageUris")
    return bool(model) and not own and (model.get("modelFormat") or {}).get("name") not in _ONE_MODEL


def rules(model: TrainedModel, old: Mapping[str, Any] | None) -> Iterator[Cause]:
    """What is wrong with a TrainedModel, or with its change from `old`."""
    name, spec = model.metadata.name or "", model.spec.model
    if name and not re.fullmatch(_NAME, name):
        yield (
            "metadata.name",
            f'the Trained Model "{name}" is invalid: a Trained Model name must consist of alphanumeric characters, '
            f"'_', or '-'. (e.g. \"my-Name\" or \"abc_123\", regex used for validation is '{_NAME}')",
        )
    scheme = served.scheme_of(spec.storage_uri)
    if scheme not in ("", *served.SCHEMES):
        prefixes = ", ".join(f"{known}://" for known in KSERVE_SCHEMES)
        yield (
            "spec.model.storageUri",
            f'the Trained Model "{name}" storageUri field is invalid. The storage uri must start with one of the '
            f'prefixes: {prefixes}. (the storage uri given is "{spec.storage_uri}")',
        )
    if failure := quantity_failure(spec.memory):
        yield "spec.model.memory", f"Invalid value: {failure}"
    elif old is not None and not type_errors_of(TrainedModel, old):
        before = parse(old).spec.model.memory
        if quantity_failure(before) is None and parse_quantity(before) != parse_quantity(spec.memory):
            yield (
                "spec.model.memory",
                f'the Trained Model "{name}" memory field is immutable. The memory was "{before}" but it is updated '
                f'to "{spec.memory}"',
            )


def quantity_failure(amount: int | float | str) -> str | None:
    """Why an amount of memory is none, or None."""
    try:
        number = parse_quantity(amount)
    except InvalidInput as error:
        return error.message
    return None if number >= 0 else f"{amount} must be greater than or equal to 0"
