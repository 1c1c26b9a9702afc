"""Reading and writing manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import Error, InvalidInput
from colonnade.resources import manifest

from .arbitrary import json_values

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def read(value: str) -> Any:
    """What a plain YAML scalar becomes."""
    return manifest.load(f"{HEAD}data:\n  x: {value}\n", "f.yaml")[0].object["data"]["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("y", "y"),
        ("~", None),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("12:30", "12:30"),
        ("1e3", 1000.0),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("0.1", 0.1),
        ("'5'", "5"),
        ("500m", "500m"),
        ("1.2.3", "1.2.3"),
        ("'-'", "-"),
    ],
)
def test_plain_scalars_are_read_as_kubernetes_reads_them(text: str, value: Any) -> None:
    assert read(text) == value
    assert type(read(text)) is type(value)


def test_keys_become_text() -> None:
    assert read("{8080: a, true: b, 1.5: c}") == {"8080": "a", "true": "b", "1.5": "c"}


def test_merge_keys_and_anchors_are_followed() -> None:
    text = f"{HEAD}a: &a {{x: 1, y: 2}}\nb: {{<<: *a, y: 3}}\n"
    assert manifest.load(text, "f")[0].object["b"] == {"x": 1, "y": 3}


def test_documents_have_source_number_and_line() -> None:
    found = manifest.load(f"# one\n{HEAD}---\n{HEAD}\n---\n# nothing\n---\n{HEAD}", "f.yaml")
    assert [(item.index, item.line) for item in found] == [(1, 1), (2, 5), (4, 12)]
    assert {item.source for item in found} == {"f.yaml"}


def test_a_list_stands_for_its_items() -> None:
    items = [{"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "v1", "kind": "Pod"}]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    assert [item.object["kind"] for item in manifest.load(text, "f.json")] == ["Secret", "Pod"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{HEAD}data: {{}}\ndata: {{}}\n", "document 1, line 5: key 'data' is given twice; keep one"),
        ('{"kind": "A", "kind": "B"}', "key 'kind' is given twice"),
        (f"{HEAD}---\nkind: A\n", "document 2, line 4: apiVersion is not set"),
        ("apiVersion: v1\n", "kind is not set"),
        ("apiVersion: v1\nkind: A\nmetadata: text\n", "metadata must be an object"),
        ("- a\n", "an object is expected"),
        (
            f"{HEAD}data:\n  x: {{user}}/y\n",
            "line 5: no YAML: '{user}' is a placeholder; fill it in",
        ),
        (f"{HEAD}data:\n\tx: 1\n", "line 5: no YAML: a tab stands where YAML wants spaces"),
        (f"{HEAD}data: .nan\n", "line 4: '.nan' has no form in JSON"),
        (f"{HEAD}data: 1e999\n", "line 4: '1e999' is too large a number"),
        ('{"a": NaN}', "NaN has no form in JSON"),
        (f"{HEAD}data: !!python/object:os.system {{}}\n", "line 4: tag "),
        (f"{HEAD}data: !!binary aGk=\n", "has no meaning in a manifest"),
        (f"{HEAD}? [a, b]\n: c\n", "a key must be text"),
        ("[" * 200_000, "nested deeper than 100 levels"),
        (f"{HEAD}data: " + "[" * 200_000, "line 4: nested deeper than 100 levels"),
        ('{"a":' * 200_000, "nested deeper than 100 levels"),
        (f"{HEAD}data: " + "".join(f"\n{' ' * depth}a:" for depth in range(1, 120)), "nested deeper than 100 levels"),
        (f"{HEAD}data: *nobody\n", "no YAML: found undefined alias"),
        (f"{HEAD}data: \x07\n", "no YAML"),
    ],
)
def test_errors_name_file_document_line_and_fix(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as error:
        manifest.load(text, "f.yaml")
    assert error.value.message.startswith("f.yaml, document ")
    assert says in error.value.message


def test_a_bomb_of_anchors_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(InvalidInput, match="use fewer anchors"):
        manifest.load(HEAD + "\n".join(lines), "f.yaml")


def test_documents_after_an_unreadable_one_are_read() -> None:
    found = list(manifest.documents(f"a: {{b}}c\n---\n{HEAD}", "f.yaml"))
    assert isinstance(found[0], manifest.Unreadable)
    assert isinstance(found[1], manifest.Manifest)


TEXTS = [
    *("yes", "y", "N", "on", "~", "null", "2024-01-01", "1:30"),
    *("1e3", "0777", "0o7", "1_0", ".inf", "0x", "+1", "=", "<<"),
    *("#", "é✓", "*a", "&a", "!a", "%", "@", "`", "'", '"', "\\n"),
]


@pytest.mark.parametrize(
    "text", [*TEXTS, "", "- a", "a: b", "multi\nline\n", "trailing \nspace", " lead", "\ttab", "a\r\nb", "\u2028"]
)
def test_text_stays_text(text: str) -> None:
    obj = {"apiVersion": "v1", "kind": "A", "data": {"x": text, "y": [text]}}
    for form in ("yaml", "json"):
        assert manifest.load(manifest.dump(obj, form), "f")[0].object == obj


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_what_is_dumped_loads_to_the_same(data: dict[str, Any]) -> None:
    obj = {"apiVersion": "v1", "kind": "A", "data": data}
    assert manifest.load(manifest.dump(obj, "yaml"), "f")[0].object == obj
    assert manifest.load(manifest.dump(obj, "json"), "f")[0].object == obj


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        manifest.load(text, "f")
    except Error:
        pass


def test_no_sample_of_kserve_loses_anything(kserve: Path) -> None:
    files = sorted((kserve / "samples").glob("*.yaml")) + sorted((kserve / "runtimes").glob("*.yaml"))
    assert len(files) > 90
    read_back = 0
    for file in files:
        for found in manifest.documents(file.read_text(), file.name):
            if isinstance(found, manifest.Unreadable):
                assert "placeholder" in found.message or "apiVersion is not set" in found.message
                continue
            for form in ("yaml", "json"):
                assert manifest.load(manifest.dump(found.object, form), file.name)[0].object == found.object
            read_back += 1
    assert read_back > 100
