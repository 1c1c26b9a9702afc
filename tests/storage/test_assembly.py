"""Several artefacts under one folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colonnade.errors import LoadFailed
from colonnade.storage.assembly import assemble
from colonnade.storage.cache import Cache

from .test_cache import folder


def test_cached_files_are_linked_and_local_ones_pointed_at(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    base = cache.artefact(folder(cache, {"config.json": b"{}", "w/a.bin": b"w"}))
    local = tmp_path / "adapter"
    (local / "deep").mkdir(parents=True)
    (local / "deep/x").write_bytes(b"1")
    single = tmp_path / "one.txt"
    single.write_bytes(b"2")
    found = assemble(cache, [(base, ""), (local, "adapters/a"), (single, "extra")])
    assert os.path.samefile(found / "w/a.bin", base / "w/a.bin")
    assert not (found / "w/a.bin").is_symlink()
    (local / "deep/x").write_bytes(b"changed")
    assert (found / "adapters/a/deep/x").read_bytes() == b"changed"
    assert (found / "extra/one.txt").read_bytes() == b"2"
    assert assemble(cache, [(base, ""), (local, "adapters/a"), (single, "extra")]) == found


@pytest.mark.parametrize("below", ["", "w/a.bin"])
def test_two_that_meet_at_one_path_are_refused(tmp_path: Path, below: str) -> None:
    cache = Cache(tmp_path)
    base = cache.artefact(folder(cache, {"w/a.bin": b"w"}))
    other = cache.artefact(folder(cache, {"w/a.bin": b"v", "x": b"1"}))
    with pytest.raises(LoadFailed, match="storageUris: "):
        assemble(cache, [(base, ""), (other, below)])


@pytest.mark.parametrize("below", ["../x", "/x", "a/../../x"])
def test_nothing_lands_outside(tmp_path: Path, below: str) -> None:
    cache = Cache(tmp_path)
    base = cache.artefact(folder(cache, {"a": b"w"}))
    with pytest.raises(LoadFailed, match="leaves the folder"):
        assemble(cache, [(base, ""), (base, below)])


def test_nothing_is_written_into_a_folder_of_the_users(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    local = tmp_path / "mine"
    (local / "sub").mkdir(parents=True)
    other = cache.artefact(folder(cache, {"x": b"1"}))
    with pytest.raises(LoadFailed, match="two of them have 'sub'"):
        assemble(cache, [(local, ""), (other, "sub")])
    assert list((local / "sub").iterdir()) == []
