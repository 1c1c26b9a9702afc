"""A runtime's container and a manifest's, as KServe merges them."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.runtimes.merge import UnknownPlaceholder, containers, filled, strategic, tagged

METADATA = {
    "name": "iris",
    "namespace": "team",
    "labels": {"modelClass": "a.B", "x.y/z": "dotted"},
    "annotations": {"modelFormat": "sklearn"},
}


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"image": "a"}, {}, {"image": "a"}),
        ({"image": "a"}, {"image": "b"}, {"image": "b"}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        (
            {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}},
            {"resources": {"requests": {"memory": "1Gi"}}},
            {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}},
        ),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "9"}]},
            {"env": [{"name": "A", "value": "9"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
        ),
        (
            {"ports": [{"containerPort": 8080, "name": "http"}]},
            {"ports": [{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 9000}]},
            {"ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}, {"containerPort": 9000}]},
        ),
        (
            {"readinessProbe": {"httpGet": {"path": "/a", "port": 1}, "periodSeconds": 5}},
            {"readinessProbe": {"httpGet": {"path": "/b"}}},
            {"readinessProbe": {"httpGet": {"path": "/b", "port": 1}, "periodSeconds": 5}},
        ),
        ({"envFrom": [{"prefix": "a"}]}, {"envFrom": [{"prefix": "b"}]}, {"envFrom": [{"prefix": "b"}]}),
        ({"workingDir": "/a"}, {"workingDir": None}, {}),
    ],
)
def test_strategic_merge(base: dict[str, Any], over: dict[str, Any], merged: dict[str, Any]) -> None:
    before = repr((base, over))
    assert strategic(base, over) == merged
    assert repr((base, over)) == before


def test_arguments_of_the_manifest_follow_those_of_the_runtime() -> None:
    merged = containers({"name": "kserve-container", "args": ["--a", "--b"]}, {"args": ["--c"]})
    assert merged == {"name": "kserve-container", "args": ["--a", "--b", "--c"]}
    assert containers({"args": ["--a"]}, {})["args"] == ["--a"]
    assert "args" not in containers({"name": "c"}, {})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("--model_name={{.Name}}", "--model_name=iris"),
        ("{{ .Name }}.{{.Namespace}}", "iris.team"),
        ("{{.Labels.modelClass}}", "a.B"),
        ("{{.Labels.missing}}", ""),
        ("{{.Annotations.modelFormat}}", "sklearn"),
        ('{{index .Labels "x.y/z"}}', "dotted"),
        ("{{- .Name -}}", "iris"),
        ("$(NAME) {single}", "$(NAME) {single}"),
    ],
)
def test_placeholders_are_the_service(text: str, result: str) -> None:
    assert filled({"args": [text], "n": 1}, METADATA) == {"args": [result], "n": 1}


@pytest.mark.parametrize("text", ["{{.Spec}}", "{{Name}}", "{{ printf .Name }}", "{{}}", "{{.Labels}}"])
def test_another_placeholder_is_named(text: str) -> None:
    with pytest.raises(UnknownPlaceholder, match="is no placeholder of a runtime"):
        filled(text, METADATA)


@pytest.mark.parametrize(
    ("image", "result"),
    [
        ("kserve/sklearnserver:v1", "kserve/sklearnserver:9"),
        ("kserve/sklearnserver", "kserve/sklearnserver:9"),
        ("host:5000/a/b", "host:5000/a/b:9"),
        ("host:5000/a/b:1", "host:5000/a/b:9"),
        ("a@sha256:00", "a@sha256:00"),
    ],
)
def test_the_version_of_a_runtime_is_the_tag_of_its_image(image: str, result: str) -> None:
    assert tagged(image, "9") == result
