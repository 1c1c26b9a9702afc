"""Allow and ignore patterns."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import LoadFailed
from colonnade.storage.patterns import ALLOW, IGNORE, Patterns, patterns_of

TEXT = st.text("ab/*?[]!.-\\", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("allow", "ignore", "taken"),
    [
        ((), (), {"config.json", "a/w.bin", "a/w.safetensors"}),
        (("*.safetensors",), (), {"a/w.safetensors"}),
        (("a/",), (), {"a/w.bin", "a/w.safetensors"}),
        (("*.json", "a/*"), ("*.bin",), {"config.json", "a/w.safetensors"}),
        ((), ("*",), set()),
        (("config.json",), ("config.json",), set()),
        (("CONFIG.json",), (), set()),
    ],
)
def test_what_is_taken(allow: tuple[str, ...], ignore: tuple[str, ...], taken: set[str]) -> None:
    found = Patterns(allow, ignore)
    assert {path for path in ("config.json", "a/w.bin", "a/w.safetensors") if found.takes(path)} == taken


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('["*.safetensors", "config.json"]', ("*.safetensors", "config.json")),
        (" *.bin, *.gguf ,", ("*.bin", "*.gguf")),
        ("", ()),
        ("[]", ()),
        ("*.bin", ("*.bin",)),
    ],
)
def test_variables_hold_a_json_list_or_words(text: str, found: tuple[str, ...]) -> None:
    assert patterns_of({ALLOW: text, IGNORE: text}) == Patterns(found, found)


@pytest.mark.parametrize("text", ["[1]", '["a"', "[a]"])
def test_a_broken_list_is_refused(text: str) -> None:
    with pytest.raises(LoadFailed, match="STORAGE_IGNORE_PATTERNS must be a JSON list"):
        patterns_of({IGNORE: text})


@given(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3), TEXT)
def test_ignoring_wins_and_nothing_breaks_it(allow: list[str], ignore: list[str], path: str) -> None:
    found = patterns_of({ALLOW: json.dumps(allow), IGNORE: json.dumps(ignore)})
    taken = found.takes(path)
    if any(fnmatchcase(path, pattern) for pattern in ignore):
        assert not taken
    if not allow and not ignore:
        assert taken
    if taken and allow:
        assert any(fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern) for pattern in allow)
