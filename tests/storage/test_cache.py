"""The cache: what is shared lies once, what is used stays, and a kill at any point breaks nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.storage.blobs import digest_of
from colonnade.storage.cache import Cache, Ref
from colonnade.storage.eviction import Held, choose, held, prune, size_of

HOUR = 3600.0


def folder(cache: Cache, files: dict[str, bytes], scratch: str = "x") -> str:
    """Publish some files. Returns the key."""
    with cache.partial(scratch) as place:
        content = place / "content"
        for name, body in files.items():
            (content / name).parent.mkdir(parents=True, exist_ok=True)
            (content / name).write_bytes(body)
        return cache.keep(content)


def test_a_file_that_two_artefacts_hold_lies_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    one, two = (folder(cache, {"w.bin": b"w" * 1000, "c": text}) for text in (b"1", b"2"))
    assert one != two
    assert os.path.samefile(cache.artefact(one) / "w.bin", cache.artefact(two) / "w.bin")
    assert size_of(held(cache)) == 1002
    assert not os.access(cache.artefact(one) / "w.bin", os.W_OK) or os.getuid() == 0


def test_the_same_content_has_one_key_and_a_program_stays_one(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert folder(cache, {"a/b": b"1", "c": b"2"}) == folder(cache, {"c": b"2", "a/b": b"1"})
    with cache.partial("y") as place:
        content = place / "content"
        content.mkdir()
        (content / "run").write_bytes(b"2")
        (content / "run").chmod(0o755)
        (content / "data").write_bytes(b"2")
        found = cache.artefact(cache.keep(content))
    assert (found / "run").stat().st_mode & 0o777 == 0o555
    assert (found / "data").stat().st_mode & 0o777 == 0o444


def ages(cache: Cache, *keys: str, now: float) -> None:
    """Make artefacts look used long ago, the first the longest."""
    for number, key in enumerate(keys):
        moment = now - 10 * HOUR + number * HOUR
        os.utime(cache.artefact(key), (moment, moment))


def test_the_least_recently_used_goes_and_what_is_held_stays(tmp_path: Path) -> None:
    cache, now = Cache(tmp_path), time.time()
    keys = [folder(cache, {"m": bytes([number]) * 1000}) for number in range(5)]
    ages(cache, *keys, now=now)
    cache.lease([keys[0]])
    cache.pin("a model", keys[1])
    done = prune(cache, 3000, now=now)
    assert done.gone == (keys[2], keys[3])
    assert done.size == 3000
    assert cache.use(keys[2]) is None
    assert len(list((tmp_path / "blobs").iterdir())) == 5, "a young blob may belong to a download that goes on"
    prune(cache, 3000, now=time.time() + HOUR, spared=60)
    assert len(list((tmp_path / "blobs").iterdir())) == 3
    cache.unpin_others(())
    assert prune(cache, 1000, now=now + HOUR, spared=0).gone == (keys[1], keys[4])


def test_what_was_asked_for_just_now_is_spared(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    key = folder(cache, {"m": b"1"})
    assert prune(cache, 0).gone == ()
    ages(cache, key, now=time.time())
    cache.remember("u", Ref(key))
    assert cache.ref("u") is not None, "asking marks it as used"
    assert prune(cache, 0).gone == ()


def test_a_shared_file_is_freed_by_the_last_that_holds_it() -> None:
    found = [Held("a", 1, {1: 100, 2: 5}), Held("b", 2, {1: 100, 3: 5}), Held("c", 3, {4: 50})]
    assert choose(found, 155, (), 10) == ["a"]
    assert choose(found, 154, (), 10) == ["a", "b"]
    assert choose(found, 0, ("b",), 10) == ["a", "c"]
    assert choose(found, 0, (), 1.5) == ["a"]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.dictionaries(st.integers(0, 6), st.just(10), min_size=1)), max_size=8),
    st.integers(0, 80),
    st.sets(st.sampled_from("abcdefgh")),
)
def test_eviction_ends_under_the_limit_or_with_nothing_left_to_evict(
    drawn: list[tuple[int, dict[int, int]]], limit: int, in_use: set[str]
) -> None:
    found = [Held(key, used, inodes) for key, (used, inodes) in zip("abcdefgh", drawn, strict=False)]
    gone = choose(found, limit, in_use, 5)
    left = [each for each in found if each.key not in gone]
    assert not set(gone) & in_use
    assert size_of(left) <= limit or all(each.key in in_use or each.used > 5 for each in left)
    if gone:
        assert size_of([each for each in found if each.key not in gone[:-1]]) > limit, "no more than needed"


_CHURN = """
import os, sys, random
from pathlib import Path
from colonnade.storage.cache import Cache, Ref
from colonnade.storage.eviction import prune
cache, rng = Cache(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
print("on", flush=True)
while True:
    name = f"u{rng.randrange(6)}"
    with cache.lock(name), cache.partial(name) as place:
        content = place / "content"
        (content / "d").mkdir(parents=True)
        for number in range(3):
            (content / "d" / str(number)).write_bytes(str(rng.randrange(8)).encode() * 5000)
        cache.remember(name, Ref(cache.keep(content)))
    if rng.random() < 0.3:
        prune(cache, 30000, spared=0)
"""


def test_kills_at_any_point_leave_only_whole_artefacts(tmp_path: Path) -> None:
    rng = random.Random(7)
    for number in range(6):
        crowd = [
            subprocess.Popen([sys.executable, "-c", _CHURN, str(tmp_path), str(10 * number + each)], stdout=-1)
            for each in range(2)
        ]
        for process in crowd:
            assert process.stdout is not None
            process.stdout.readline()
        threading.Event().wait(rng.random() * 0.2)
        for process in crowd:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    cache = Cache(tmp_path)
    for key in os.listdir(cache.artefacts):
        files = [file for file in cache.artefact(key).rglob("*") if file.is_file()]
        assert sorted(file.name for file in files) == ["0", "1", "2"]
        assert all(len(file.read_bytes()) == 5000 for file in files)
    for blob in (tmp_path / "blobs").iterdir():
        assert digest_of(blob) == blob.name
    prune(cache, 0, now=time.time() + HOUR, spared=0)
    assert not list(cache.artefacts.iterdir())
    assert not list((tmp_path / "blobs").iterdir())
    assert not (tmp_path / "trash").exists()


def test_an_old_broken_download_is_cleared_away_unless_somebody_is_at_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for uri in ("left", "held"):
        (cache.resumable(uri) / "x.part").write_bytes(b"1")
    with cache.lock("held"):
        prune(cache, 0, now=time.time() + 30 * 86400)
    assert cache.resumable("held").joinpath("x.part").exists()
    assert not cache.resumable("left").joinpath("x.part").exists()


@pytest.mark.parametrize("path", ["/elsewhere/x", "artefacts/x"])
def test_only_paths_in_the_cache_have_keys(tmp_path: Path, path: str) -> None:
    cache = Cache(tmp_path)
    assert cache.key_in(path) is None
    assert cache.key_in(f"{cache.artefacts}/k-tree/d/m") == "k-tree"
    assert cache.key_in(f"{cache.artefacts}/k-tree") == "k-tree"
