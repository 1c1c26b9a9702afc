"""What admission adds to the rules of the kinds."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.admission import admit, check_namespace_deletion, contents_of_namespaces
from colonnade.errors import Forbidden, Invalid, InvalidInput
from colonnade.resources.kinds import CONFIG_MAP, INFERENCE_SERVICE, NAMESPACE, SECRET


def service(**predictor: Any) -> dict[str, Any]:
    head = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    return {**head, "metadata": {"name": "iris", "namespace": "default"}, "spec": {"predictor": predictor}}


def core(kind: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": "default"}, **more}


def test_a_manifest_with_a_framework_key_can_be_applied_again() -> None:
    live, _ = admit(INFERENCE_SERVICE, service(sklearn={"storageUri": "/a"}), None)
    assert "sklearn" not in live["spec"]["predictor"]
    both = service(**live["spec"]["predictor"], sklearn={"storageUri": "/b"})  # what a merge of both makes
    again, _ = admit(INFERENCE_SERVICE, both, live)
    assert again["spec"]["predictor"]["model"]["storageUri"] == "/b"


def test_two_forms_that_the_user_wrote_are_refused() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "/a"}
    both = service(model=model, sklearn={"storageUri": "/b"})
    with pytest.raises(Invalid, match="exactly one of"):
        admit(INFERENCE_SERVICE, both, None)
    live, _ = admit(INFERENCE_SERVICE, service(model={**model, "storageUri": "/c"}), None)
    with pytest.raises(Invalid, match="exactly one of"):
        admit(INFERENCE_SERVICE, both, live)


def test_unknown_fields_refuse_warn_or_pass() -> None:
    odd = service(model={"modelFormat": {"name": "sklearn"}, "storageUri": "/a"}, modle={})
    with pytest.raises(InvalidInput, match=r'strict decoding error: unknown field "spec.predictor.modle"'):
        admit(INFERENCE_SERVICE, odd, None, "Strict")
    kept, warnings = admit(INFERENCE_SERVICE, odd, None, "Warn")
    assert warnings == ('unknown field "spec.predictor.modle"',)
    assert kept["spec"]["predictor"]["modle"] == {}
    assert admit(INFERENCE_SERVICE, odd, None, "Ignore")[1] == ()
    assert admit(INFERENCE_SERVICE, odd, kept, "Strict")[1] == ()


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
