"""What admission adds to the rules of the kinds."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.admission import admit, check_fields, check_namespace_deletion, contents_of_namespaces, expanded
from colonnade.errors import Forbidden, Invalid, InvalidInput
from colonnade.resources.kinds import CONFIG_MAP, INFERENCE_SERVICE, NAMESPACE, SECRET


def service(**predictor: Any) -> dict[str, Any]:
    head = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    return {**head, "metadata": {"name": "iris", "namespace": "default"}, "spec": {"predictor": predictor}}


def core(kind: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": "default"}, **more}


def test_two_forms_are_refused() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "/a"}
    both = service(model=model, sklearn={"storageUri": "/b"})
    with pytest.raises(Invalid, match="exactly one of"):
        admit(INFERENCE_SERVICE, both, None)
    with pytest.raises(Invalid, match="exactly one of"):
        admit(INFERENCE_SERVICE, both, service(model=model))


def test_unknown_fields_refuse_warn_or_pass() -> None:
    odd = service(model={"modelFormat": {"name": "sklearn"}, "storageUri": "/a"}, modle={})
    with pytest.raises(InvalidInput, match=r'strict decoding error: unknown field "spec.predictor.modle"'):
        check_fields(INFERENCE_SERVICE, odd, None, "Strict")
    assert check_fields(INFERENCE_SERVICE, odd, None, "Warn") == (
        'unknown field "spec.predictor.modle" (did you mean model?)',
    )
    assert check_fields(INFERENCE_SERVICE, odd, None, "Ignore") == ()
    kept = admit(INFERENCE_SERVICE, odd, None)
    assert kept["spec"]["predictor"]["modle"] == {}
    assert check_fields(INFERENCE_SERVICE, odd, kept, "Strict") == ()


def test_a_field_without_effect_is_warned_of_once() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "/a"}
    wanted = service(model=model, deploymentStrategy={"type": "Recreate"})
    (warning,) = check_fields(INFERENCE_SERVICE, wanted, None, "Strict")
    assert warning.startswith("spec.predictor.deploymentStrategy.type has no effect here: ")
    assert check_fields(INFERENCE_SERVICE, wanted, wanted, "Strict") == ()
    other = service(model=model, deploymentStrategy={"type": "RollingUpdate"})
    (again,) = check_fields(INFERENCE_SERVICE, other, wanted)
    assert again == warning
    assert check_fields(INFERENCE_SERVICE, service(model=model), None) == ()


def test_text_of_a_secret_is_stored_as_data() -> None:
    found = admit(SECRET, core("Secret", data={"a": "YQ=="}, stringData={"b": "b"}), None)
    assert found["data"] == {"a": "YQ==", "b": "Yg=="}
    assert "stringData" not in found
    assert found["type"] == "Opaque"
    assert expanded(SECRET, found) == found


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (NAMESPACE, core("Namespace", spec=[])),
        (SECRET, core("Secret", data={"a": "!"})),
        (SECRET, core("Secret", data={"a": 1})),
        (SECRET, core("Secret", stringData=[])),
        (CONFIG_MAP, core("ConfigMap", data={"a": 1})),
        (CONFIG_MAP, core("ConfigMap", binaryData={"a": "%"})),
    ],
)
def test_core_kinds_are_checked(kind: Any, obj: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        admit(kind, obj, None)
    assert caught.value.causes


def test_the_default_namespace_stays() -> None:
    with pytest.raises(Forbidden, match="may not be deleted"):
        check_namespace_deletion("default")
    check_namespace_deletion("team")
    assert "Pod" not in {kind.kind for kind in contents_of_namespaces()}


def test_a_service_that_names_no_model_is_warned_of_once() -> None:
    empty = service(sklearn={})
    (told,) = check_fields(INFERENCE_SERVICE, empty, None)
    assert "TrainedModels" in told
    assert check_fields(INFERENCE_SERVICE, empty, empty) == ()
    assert check_fields(INFERENCE_SERVICE, service(sklearn={"storageUri": "/m"}), None) == ()
