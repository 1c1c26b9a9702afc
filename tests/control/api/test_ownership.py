"""Field ownership and server-side apply, as stories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.control.api.ownership import (
    FieldConflict,
    applied,
    decode,
    encode,
    fields_of,
    handed_over,
    owners_of,
    settled,
    updated,
)

HEAD = {"apiVersion": "v1", "kind": "ConfigMap"}


def config(**data: Any) -> dict[str, Any]:
    return {**HEAD, "metadata": {"name": "c"}, "data": data}


def owned(obj: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    return {
        (owner.manager, owner.operation): sorted(".".join(path) for path in owner.fields) for owner in owners_of(obj)
    }


def apply(live: dict[str, Any], manager: str, *, force: bool = False, **data: Any) -> dict[str, Any]:
    return applied(live, config(**data), manager, "t", force=force)


def test_the_first_apply_owns_all_it_sets() -> None:
    live = apply({}, "a", x="1", y={"z": []})
    assert live["data"] == {"x": "1", "y": {"z": []}}
    assert owned(live) == {("a", "Apply"): ["data.x", "data.y.z"]}


def test_what_is_left_out_goes_if_nobody_else_owns_it() -> None:
    live = apply(apply({}, "a", x="1", y="2"), "b", y="2")
    after = apply(live, "a", x="1")
    assert after["data"] == {"x": "1", "y": "2"}
    assert owned(after) == {("a", "Apply"): ["data.x"], ("b", "Apply"): ["data.y"]}
    assert apply(after, "b", z="3")["data"] == {"x": "1", "z": "3"}


def test_emptied_maps_go_too() -> None:
    live = apply({}, "a", keep="1", deep={"er": {"x": "1"}})
    assert apply(live, "a", keep="1")["data"] == {"keep": "1"}


@pytest.mark.parametrize(
    "metadata", [{"name": "c"}, {"name": "c", "annotations": {}}, {"name": "c", "annotations": None}]
)
def test_the_last_entry_of_a_map_goes_however_it_is_left_out(metadata: dict[str, Any]) -> None:
    live = applied({}, {**HEAD, "metadata": {"name": "c", "annotations": {"consent": "true"}}}, "a", "t", force=False)
    after = applied(live, {**HEAD, "metadata": metadata}, "a", "t", force=False)
    assert not after["metadata"].get("annotations")


def test_an_empty_map_keeps_what_others_put_in() -> None:
    live = apply(apply({}, "a", x={"mine": "1"}), "b", x={"yours": "2"})
    assert apply(live, "a", x={})["data"] == {"x": {"yours": "2"}}


def test_a_conflict_names_field_and_manager_and_force_takes_over() -> None:
    live = apply({}, "a", x="1")
    assert owned(apply(live, "b", x="1")) == {("a", "Apply"): ["data.x"], ("b", "Apply"): ["data.x"]}  # shared
    with pytest.raises(FieldConflict, match='Apply failed with 1 conflict: conflict with "a"') as caught:
        apply(live, "b", x="2")
    assert caught.value.causes == ((".data.x", 'conflict with "a"'),)
    with pytest.raises(FieldConflict):
        apply(live, "b", x={"below": "2"})
    taken = apply(live, "b", force=True, x="2")
    assert taken["data"] == {"x": "2"}
    assert owned(taken) == {("b", "Apply"): ["data.x"]}


def test_an_update_owns_what_it_changes() -> None:
    live = apply({}, "a", x="1", y="2")
    changed = updated(live, {**live, "data": {"x": "9", "z": "3"}}, "editor", "t")
    assert owned(changed) == {("a", "Apply"): [], ("editor", "Update"): ["data.x", "data.z"]} or owned(changed) == {
        ("editor", "Update"): ["data.x", "data.z"]
    }
    with pytest.raises(FieldConflict, match="using v1"):
        apply(changed, "a", x="1")


def test_clients_may_hand_their_fields_over() -> None:
    live = updated(None, config(x="1"), "kubectl-client-side-apply", "t")
    moved = {**live, "metadata": {**live["metadata"]}}
    moved["metadata"]["managedFields"] = [
        {**live["metadata"]["managedFields"][0], "manager": "kubectl", "operation": "Apply"}
    ]
    assert owned(updated(live, moved, "kubectl", "t")) == {("kubectl", "Apply"): ["data.x"]}


def test_a_tool_hands_over_what_it_changed_to_whoever_applies() -> None:
    live = apply({}, "a", x="1", y="1")
    changed = updated(live, {**live, "data": {"x": "2", "y": "1"}}, "tool", "t")
    assert owned(changed) == {("a", "Apply"): ["data.y"], ("tool", "Update"): ["data.x"]}
    with pytest.raises(FieldConflict):
        apply(changed, "a", x="3")
    handed = handed_over(changed, "tool", "a", "data")
    assert owned(handed) == {("a", "Apply"): ["data.x", "data.y"]}
    assert apply(handed, "a", x="3")["data"] == {"x": "3"}
    assert handed_over(changed, "tool", "b", "data") == changed, "who applies nothing is given nothing"
    assert handed_over(changed, "tool", "a", "spec") == changed


def test_times_alone_change_nothing() -> None:
    live = apply({}, "a", x="1")
    again = applied(live, config(x="1"), "a", "later", force=False)
    assert again == live
    later = {
        **live,
        "metadata": {**live["metadata"], "managedFields": [{**live["metadata"]["managedFields"][0], "time": "x"}]},
    }
    assert settled(live, later) == live


@pytest.mark.parametrize(
    "entries", [None, 7, ["x"], [{}], [{"manager": 1, "fieldsV1": {}}], [{"manager": "m", "fieldsV1": []}]]
)
def test_malformed_entries_own_nothing(entries: Any) -> None:
    assert owners_of({"metadata": {"managedFields": entries}}) == []


VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.text("ab.:f", max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_fields_survive_the_wire(value: Any) -> None:
    fields = fields_of({**HEAD, "data": value})
    assert decode(encode(fields)) == fields


@given(VALUES, VALUES, VALUES)
def test_forced_applies_set_all_that_they_say_and_repeat_without_effect(one: Any, two: Any, three: Any) -> None:
    live = applied({}, {**HEAD, "data": one}, "a", "t", force=True)
    live = applied(live, {**HEAD, "data": two}, "b", "t", force=True)
    live = applied(live, {**HEAD, "data": three}, "a", "t", force=True)
    for path in fields_of({**HEAD, "data": three}):
        value: Any = three
        for part in path[1:]:
            value = value[part]
        found: Any = live
        for part in path:
            found = found[part]
        assert found == value or (value == {} and isinstance(found, dict))
    assert applied(live, {**HEAD, "data": three}, "a", "t", force=True) == live
