"""The schema that is published, and strict validation against it."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given

from colonnade.errors import Error, Invalid
from colonnade.resources import kinds, schema
from colonnade.resources.inferenceservice import InferenceService, parse
from colonnade.resources.kinds import Kind
from colonnade.resources.runtime import ServingRuntime
from colonnade.resources.shape import Entries, Free, Listing, Record, Scalar, Shape, shape_of
from colonnade.resources.strict import type_errors_of, unknown_fields_of

from .arbitrary import services

ISVC = kinds.INFERENCE_SERVICE


@cache
def crd(kserve: Path, name: str) -> dict[str, Any]:
    """The OpenAPI schema in a CRD of KServe."""
    text = gzip.decompress((kserve / "crds" / f"{name}.yaml.gz").read_bytes())
    spec = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
    found: dict[str, Any] = spec["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def missing(theirs: dict[str, Any], ours: Shape, path: str = "") -> list[str]:
    """Properties of KServe's schema that ours does not know, to any depth."""
    match ours:
        case Free():
            return []
        case Listing():
            return missing(theirs["items"], ours.item, f"{path}[]")
        case Entries():
            return missing(theirs["additionalProperties"], ours.value, f"{path}{{}}")
        case Scalar():
            return [path] if "properties" in theirs or "items" in theirs else []
    found = []
    for name, below in theirs.get("properties", {}).items():
        if name in ours.properties:
            found += missing(below, ours.properties[name].shape, f"{path}.{name}")
        elif path:
            found.append(f"{path}.{name}")
    return found


def test_every_field_of_kserves_service_is_known_to_any_depth(kserve: Path) -> None:
    assert missing(crd(kserve, "inferenceservices"), shape_of(InferenceService)) == []


def test_every_field_of_kserves_runtime_is_known_to_any_depth(kserve: Path) -> None:
    found = missing(crd(kserve, "servingruntimes"), shape_of(ServingRuntime))
    assert [path for path in found if ".matchLabelKeys" not in path] == []


def extra(theirs: dict[str, Any], ours: Shape, path: str) -> list[str]:
    """Properties that we know and KServe does not."""
    if isinstance(ours, Listing):
        return extra(theirs["items"], ours.item, f"{path}[]")
    if not isinstance(ours, Record) or "properties" not in theirs:
        return []
    found = [f"{path}.{name}" for name in ours.properties if name not in theirs["properties"]]
    for name, below in theirs["properties"].items():
        if name in ours.properties:
            found += extra(below, ours.properties[name].shape, f"{path}.{name}")
    return found


def test_no_field_of_the_spec_is_invented(kserve: Path) -> None:
    spec = shape_of(InferenceService).properties["spec"].shape
    invented = extra(crd(kserve, "inferenceservices")["properties"]["spec"], spec, "spec")
    newer = {"ephemeralContainers", "schedulingGroup", "storageContainerName"}  # of newer or older versions of KServe
    assert [path for path in invented if path.rpartition(".")[2] not in newer and ".canary[]" not in path] == []


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.kind)
def test_schemas_are_whole(kind: Kind) -> None:
    schemas = schema.openapi_schemas(kind)
    text = json.dumps(schemas)
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(schemas)
    assert '"type": "null"' not in text
    top = schemas[schema.schema_name(kind.struct)]
    group_version_kind = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    assert top["x-kubernetes-group-version-kind"] == [group_version_kind]
    listed = schemas[f"{schema.schema_name(kind.struct)}List"]
    assert listed["x-kubernetes-group-version-kind"] == [group_version_kind | {"kind": f"{kind.kind}List"}]
    for name, component in schemas.items():
        assert component["description"], name
        for field, declared in component["properties"].items():
            assert declared["description"], f"{name}.{field}"


def test_names_and_forms_of_the_schema() -> None:
    schemas = schema.openapi_schemas(ISVC)
    service = schemas["io.kserve.serving.v1beta1.InferenceService"]["properties"]
    assert service["metadata"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    ]
    predictor = schemas["io.kserve.serving.v1beta1.Predictor"]["properties"]
    assert predictor["minReplicas"]["format"] == "int32"
    assert predictor["timeout"]["format"] == "int64"
    assert predictor["scaleMetric"]["enum"] == ["concurrency", "cpu", "memory", "rps"]
    assert predictor["nodeSelector"]["additionalProperties"] == {"type": "string"}
    assert predictor["affinity"]["x-kubernetes-preserve-unknown-fields"] is True
    assert schemas["io.kserve.serving.v1beta1.Model"]["required"] == ["modelFormat"]
    assert schemas["io.k8s.api.core.v1.HTTPGetAction"]["properties"]["port"]["x-kubernetes-int-or-string"] is True


def test_unknown_fields_have_paths(iris: dict[str, Any]) -> None:
    iris["spec"]["predictor"]["modle"] = {}
    iris["spec"]["predictor"]["sklearn"]["env"] = [{"name": "a", "valeu": "b"}]
    iris["spec"]["predictor"]["affinity"] = {"anything": {"goes": 1}}
    iris["metadata"]["labels"] = {"any/key": "x"}
    iris["metadata"]["lables"] = {}
    assert sorted(schema.unknown_fields(ISVC, iris)) == [
        "metadata.lables",
        "spec.predictor.modle",
        "spec.predictor.sklearn.env[0].valeu",
    ]


@pytest.mark.parametrize(
    ("predictor", "path", "message"),
    [
        ({"minReplicas": "two"}, "spec.predictor.minReplicas", "must be of type integer, not string"),
        ({"minReplicas": True}, "spec.predictor.minReplicas", "must be of type integer, not boolean"),
        ({"minReplicas": 2**31}, "spec.predictor.minReplicas", "must be 2147483647 or less"),
        ({"timeout": 1.5}, "spec.predictor.timeout", "must be of type integer, not number"),
        ({"containers": {}}, "spec.predictor.containers", "must be a list, not object"),
        ({"sklearn": []}, "spec.predictor.sklearn", "must be an object, not array"),
        ({"sklearn": {"args": [1]}}, "spec.predictor.sklearn.args[0]", "must be of type string, not integer"),
        ({"sklearn": {"env": [{}]}}, "spec.predictor.sklearn.env[0].name", "Required value"),
        ({"model": {}}, "spec.predictor.model.modelFormat", "Required value"),
        (
            {"logger": {"mode": "some"}},
            "spec.predictor.logger.mode",
            'unsupported value "some"; supported values: all, ',
        ),
        ({"storageUris": []}, "spec.predictor.storageUris", "must have at least 1 item"),
        (
            {"storageUris": [{"uri": "x", "mountPath": "y"}]},
            "spec.predictor.storageUris[0].mountPath",
            "must match '^/.*'",
        ),
        ({"labels": {"a.b/c": 1}}, "spec.predictor.labels[a.b/c]", "must be of type string, not integer"),
    ],
)
def test_wrong_types_have_paths(iris: dict[str, Any], predictor: dict[str, Any], path: str, message: str) -> None:
    iris["spec"]["predictor"] = predictor
    ((found, text),) = type_errors_of(InferenceService, iris)
    assert found == path
    assert message in text
    with pytest.raises(Invalid) as error:
        parse(iris)
    assert error.value.causes == ((found, text),)
    assert path in error.value.message
    assert error.value.message.startswith('InferenceService.serving.kserve.io "iris" is invalid: ')


def test_all_wrong_types_are_reported_at_once(iris: dict[str, Any]) -> None:
    iris["spec"]["predictor"] = {"minReplicas": "a", "timeout": "b"}
    with pytest.raises(Invalid) as error:
        parse(iris)
    assert len(error.value.causes) == 2
    assert "is invalid: [spec.predictor.minReplicas: " in error.value.message


def test_null_is_as_good_as_absent(iris: dict[str, Any]) -> None:
    iris["spec"]["predictor"] |= {"minReplicas": None, "containers": None, "model": None}
    iris["metadata"]["labels"] = None
    assert type_errors_of(InferenceService, iris) == []
    assert parse(iris).spec.predictor.replicas == 1


@given(services)
def test_type_errors_are_exactly_what_the_parser_refuses(obj: dict[str, Any]) -> None:
    try:
        msgspec.convert(obj, InferenceService)
        fits = True
    except msgspec.ValidationError:
        fits = False
    found = type_errors_of(InferenceService, obj)
    assert fits == (not found), found


@given(services)
def test_any_object_is_judged(obj: dict[str, Any]) -> None:
    unknown_fields_of(InferenceService, obj)
    try:
        parse(obj)
    except Error:
        pass
