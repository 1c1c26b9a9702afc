"""What a manifest wants fetched."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.workload.sources import PLACEHOLDER, Piece, Source, StorageBlock, of


@pytest.mark.parametrize(
    ("component", "holder", "found"),
    [
        ({}, {}, ()),
        ({}, {"storageUri": "s3://b/m"}, (Source("s3://b/m"),)),
        ({}, {"env": [{"name": "STORAGE_URI", "value": "s3://b/m"}]}, (Source("s3://b/m"),)),
        (
            {"serviceAccountName": "sa", "storageContainerName": "mine"},
            {"storageUri": "x://m", "env": [{"name": "STORAGE_ALLOW_PATTERNS", "value": "*.bin"}]},
            (Source("x://m", account="sa", container="mine", env=(("STORAGE_ALLOW_PATTERNS", "*.bin"),)),),
        ),
        (
            {},
            {"storage": {"key": "k", "path": "/sklearn", "parameters": {"bucket": "b"}}},
            (Source(f"{PLACEHOLDER}://sklearn", storage=StorageBlock("k", (("bucket", "b"),))),),
        ),
        ({}, {"storageUri": "s3://b/m", "storage": {"key": "k"}}, (Source("s3://b/m", storage=StorageBlock("k")),)),
        ({"storageUris": [{"uri": "a", "mountPath": "/mnt/m/x"}]}, {}, (Source("a", "/mnt/m/x"),)),
        (
            {
                "storageUris": [
                    {"uri": "a", "mountPath": "/mnt/models/base/"},
                    {"uri": "b", "mountPath": "/mnt/models/l"},
                ]
            },
            {},
            (Source("a", "/mnt/models", (Piece("a", "base"), Piece("b", "l"))),),
        ),
        (
            {"storageUris": [{"uri": "a"}, {"uri": "b", "mountPath": "/mnt/models/l"}]},
            {},
            (Source("a", "/mnt/models", (Piece("a"), Piece("b", "l"))),),
        ),
    ],
)
def test_sources(component: dict[str, Any], holder: dict[str, Any], found: tuple[Source, ...]) -> None:
    assert of(component, holder, {}) == found


def test_annotations_that_count() -> None:
    annotations = {
        "serving.kserve.io/storageSecretName": "mine",
        "colonnade.dev/trust-code": "true",
        "colonnade.dev/model-digest": "sha256:00",
        "other": "x",
    }
    (found,) = of({}, {"storageUri": "s3://b/m"}, annotations)
    assert found.secret == "mine"
    assert dict(found.safety) == {"colonnade.dev/trust-code": "true", "colonnade.dev/model-digest": "sha256:00"}


def test_a_block_without_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match=r"storage\.path is missing"):
        of({}, {"storage": {"key": "k"}}, {})
