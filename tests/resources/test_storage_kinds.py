"""The kinds round storage: their rules, their tables, and what becomes of their fields."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.errors import Invalid
from colonnade.resources.validation import validate
from colonnade.resources.verdicts import check

API = "serving.kserve.io/v1alpha1"


def container(**spec: Any) -> dict[str, Any]:
    given = {"container": {"command": ["fetch"]}, "supportedUriFormats": [{"prefix": "x://"}], **spec}
    return {"apiVersion": API, "kind": "ClusterStorageContainer", "metadata": {"name": "c"}, "spec": given}


def cache(kind: str = "LocalModelCache", **spec: Any) -> dict[str, Any]:
    given = {"sourceModelUri": "s3://b/m", "modelSize": "1Gi", "nodeGroups": ["g"], **spec}
    return {"apiVersion": API, "kind": kind, "metadata": {"name": "c"}, "spec": given}


def group(limit: str) -> dict[str, Any]:
    spec = {"storageLimit": limit}
    return {"apiVersion": API, "kind": "LocalModelNodeGroup", "metadata": {"name": "g"}, "spec": spec}


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (container(), None),
        (container(workloadType="localModelDownloadJob"), None),
        (container(workloadType="job"), "spec.workloadType"),
        (container(supportedUriFormats=[{"prefix": "a", "regex": "b"}]), "exactly one of prefix and regex"),
        (container(supportedUriFormats=[{}]), "exactly one of prefix and regex"),
        (container(supportedUriFormats=[{"regex": "("}]), "spec.supportedUriFormats[0].regex"),
        (cache(), None),
        (cache("LocalModelNamespaceCache"), None),
        (cache(modelSize="huge"), "spec.modelSize"),
        (cache(modelSize="-1"), "spec.modelSize"),
        (cache(nodeGroups=[]), "spec.nodeGroups"),
        (cache(sourceModelUri=""), "spec.sourceModelUri"),
        (group("10Gi"), None),
        (group("lots"), "spec.storageLimit"),
    ],
)
def test_rules(obj: dict[str, Any], text: str | None) -> None:
    if text is None:
        validate(obj)
        return
    with pytest.raises(Invalid) as caught:
        validate(obj)
    assert text in caught.value.message


def test_a_source_cannot_be_changed() -> None:
    with pytest.raises(Invalid, match="StorageUri is immutable"):
        validate(cache(sourceModelUri="s3://b/n"), cache())
    validate(cache(modelSize="2Gi"), cache())


@pytest.mark.parametrize(
    ("image", "verdict"), [("kserve/storage-initializer:latest", "emulated"), ("mine/fetcher", "cluster-only")]
)
def test_an_image_alone_runs_only_where_the_platform_does_its_work(image: str, verdict: str) -> None:
    obj = container(container={"image": image})
    assert {field.verdict for field in check(obj) if field.path == "spec.container.image"} == {verdict}


def test_every_field_has_a_verdict() -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}, "secrets": [{"name": "s"}]}
    for obj in (container(), cache(), cache("LocalModelNamespaceCache"), group("1Gi"), account):
        assert not [field for field in check(obj) if field.verdict == "unknown"]
