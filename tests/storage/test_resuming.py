"""Downloads in ranges: several at a time, gone on with after a cut or a kill, and never of two versions."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from colonnade.errors import LoadFailed
from colonnade.storage.cache import Cache
from colonnade.storage.fetch import fetch
from colonnade.storage.limits import Limits
from colonnade.storage.parts import Part
from colonnade.storage.provider import Order
from colonnade.storage.transfer import attempt, collect

from .origin import Origin, Ranged

MIB = 1 << 20
QUICK = Limits(retry_delay=0.0, read_timeout=5.0, segment_bytes=MIB, checkpoint_bytes=128 << 10, connections=4)
BODY = os.urandom(6 * MIB + 17)


@pytest.fixture
def ranged(origin: Origin) -> Ranged:
    served = Ranged(BODY)
    origin.answers["/m.bin"] = served
    return served


def only_file(folder: Path) -> bytes:
    (found,) = folder.iterdir()
    return found.read_bytes()


def test_a_large_file_comes_in_several_ranges_at_once(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    folder = fetch(origin.url("/m.bin"), tmp_path, limits=QUICK, progress=lambda *step: steps.append(step))
    assert only_file(folder) == BODY
    assert sorted(ranged.ranges)[1:] == [
        f"bytes={start}-{min(start + MIB, len(BODY)) - 1}" for start in range(MIB, len(BODY), MIB)
    ]
    assert steps[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert not (tmp_path / "resumable").exists() or not list((tmp_path / "resumable").iterdir())


def test_a_cut_range_goes_on_where_it_was_cut(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    ranged.cut, ranged.cuts = 300_000, 12
    assert only_file(fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)) == BODY
    assert ranged.sent < len(BODY) + 5 * MIB, "what came before a cut is not asked for again"


def test_a_broken_fetch_leaves_what_the_next_one_goes_on_with(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    ranged.cut, ranged.cuts = 10_000, 1_000_000
    with pytest.raises(LoadFailed, match="could not be fetched in 3 tries"):
        fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)
    assert not (tmp_path / "artefacts").exists()
    kept = ranged.sent
    ranged.cuts, ranged.sent = 0, 0
    assert only_file(fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)) == BODY
    assert kept > 0
    assert ranged.sent <= len(BODY) - kept + QUICK.segment_bytes


def test_content_that_changes_midway_is_never_mixed(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    fresh = os.urandom(len(BODY))
    answered = ranged.__call__

    def answer(handler: object) -> None:
        if len(ranged.ranges) == 3:
            ranged.body, ranged.etag = fresh, '"v2"'
        answered(handler)  # type: ignore[arg-type]

    origin.answers["/m.bin"] = answer
    assert only_file(fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)) == fresh


def test_what_an_earlier_version_left_is_not_used_for_a_later_one(
    origin: Origin, ranged: Ranged, tmp_path: Path
) -> None:
    ranged.cut, ranged.cuts = 10_000, 1_000_000
    with pytest.raises(LoadFailed):
        fetch(origin.url("/m.bin"), tmp_path, limits=Limits(retry_delay=0, attempts=1, segment_bytes=MIB))
    ranged.cuts = 0
    ranged.body, ranged.etag = os.urandom(len(BODY)), '"v2"'
    assert only_file(fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)) == ranged.body


@pytest.mark.parametrize("lie", [5, 3 * MIB])
def test_a_server_that_announces_too_much_is_given_up(origin: Origin, ranged: Ranged, tmp_path: Path, lie: int) -> None:
    ranged.lie = lie
    with pytest.raises(LoadFailed, match="could not be fetched"):
        fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)
    assert not (tmp_path / "artefacts").exists()


def test_a_weak_tag_or_no_ranges_means_one_stream(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    ranged.etag = 'W/"v1"'
    assert only_file(fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)) == BODY
    assert ranged.ranges == [""]


def test_a_kill_costs_at_most_what_was_not_noted(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    ranged.gate, ranged.cut, ranged.cuts = threading.Event(), 700_000, 1_000_000
    program = (
        "import sys; from pathlib import Path; from colonnade.storage.fetch import fetch\n"
        "from colonnade.storage.limits import Limits\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), limits=Limits(segment_bytes=1<<20, checkpoint_bytes=1<<17))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, origin.url("/m.bin"), str(tmp_path)])
    try:
        deadline = time.monotonic() + 20
        while sum(file.stat().st_size for file in tmp_path.rglob("*.ranges")) < 200:
            assert time.monotonic() < deadline, "nothing was noted"
            assert process.poll() is None
            threading.Event().wait(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    ranged.gate.set()
    ranged.cuts, ranged.sent = 0, 0
    assert only_file(fetch(origin.url("/m.bin"), tmp_path, limits=QUICK)) == BODY
    assert ranged.sent < len(BODY), "some of it was on the disk"


def _fetch(url: str, cache: str, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    fetch(url, Path(cache), limits=QUICK)


def test_eight_processes_make_one_download(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    processes = [context.Process(target=_fetch, args=(origin.url("/m.bin"), str(tmp_path), barrier)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert ranged.sent < len(BODY) + MIB * 2
    assert only_file(fetch(origin.url("/m.bin"), tmp_path)) == BODY


def order(tmp_path: Path, limits: Limits = QUICK) -> Order:
    return Order("s3://b/m", Cache(tmp_path), limits, {})


def part(path: str, body: bytes, reads: list[str], digest: str | None = None, tag: str | None = "") -> Part:
    def read(start: int, stop: int | None) -> list[bytes]:
        reads.append(path)
        return [body[start:stop]]

    named = f"{path}@{hashlib.sha256(body).hexdigest()}" if tag == "" else tag
    return Part(path, len(body), named, lambda start, stop: iter(read(start, stop)), digest)


def run(order: Order, parts: list[Part]) -> Path:
    with order.cache.lock(order.identity):
        return attempt(order, lambda: collect(order, parts))


def test_a_changed_folder_brings_only_what_changed(tmp_path: Path) -> None:
    reads: list[str] = []
    first = run(order(tmp_path), [part("config.json", b"{}", reads), part("w/a.bin", b"weights", reads)])
    second = run(order(tmp_path), [part("config.json", b"{ }", reads), part("w/a.bin", b"weights", reads)])
    assert reads == ["config.json", "w/a.bin", "config.json"]
    assert (second / "config.json").read_bytes() == b"{ }"
    assert os.path.samefile(first / "w/a.bin", second / "w/a.bin"), "two revisions hold a file once"


def test_a_stated_sha256_that_is_here_is_not_downloaded(tmp_path: Path) -> None:
    reads: list[str] = []
    digest = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    run(order(tmp_path), [part("a.bin", b"weights", reads, digest), part("b", b"", reads)])
    other = Order("hf://somebody/else", Cache(tmp_path), QUICK, {})
    found = run(other, [part("c.bin", b"weights", reads, digest, tag=None), part("d", b"x", reads)])
    assert (found / "c.bin").read_bytes() == b"weights"
    assert "c.bin" not in reads


def test_a_spoiled_blob_is_not_used_again(tmp_path: Path) -> None:
    reads: list[str] = []
    first = run(order(tmp_path), [part("a.bin", b"weights", reads), part("b", b"y", reads)])
    (first / "a.bin").chmod(0o644)
    (first / "a.bin").write_bytes(b"garbage")
    second = run(order(tmp_path), [part("a.bin", b"weights", reads), part("b", b"z", reads)])
    assert (second / "a.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "git"])
def test_bytes_that_are_not_what_the_source_says_are_refused(tmp_path: Path, digest: str) -> None:
    with pytest.raises(LoadFailed, match="came damaged"):
        run(order(tmp_path), [part("a.bin", b"weights", [], f"{digest}:{'0' * 40}")])
    assert not (tmp_path / "artefacts").exists()


def test_right_digests_pass(tmp_path: Path) -> None:
    body = b"weights"
    stated = [
        f"md5:{hashlib.md5(body).hexdigest()}",
        f"sha1:{hashlib.sha1(body).hexdigest()}",
        f"git:{hashlib.sha1(b'blob 7' + bytes(1) + body).hexdigest()}",
    ]
    parts = [part(f"{number}.bin", body, [], digest, tag=None) for number, digest in enumerate(stated)]
    assert len(list(run(order(tmp_path), parts).iterdir())) == 3


@pytest.mark.parametrize(
    "paths", [["../x"], ["/etc/x"], ["a/../../x"], ["a", "a"], ["a", "a/b"], ["x\0"], [""], ["a/b", "a/b/c"]]
)
def test_a_listing_that_leads_out_or_onto_itself_is_refused(tmp_path: Path, paths: list[str]) -> None:
    with pytest.raises(LoadFailed, match="refused"):
        run(order(tmp_path / "cache"), [part(path, b"x", []) for path in paths])
    assert not (tmp_path / "x").exists()


def test_threads_of_one_process_share_a_download(origin: Origin, ranged: Ranged, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: fetch(origin.url("/m.bin"), tmp_path, limits=QUICK), range(8)))
    assert len(folders) == 1
    assert ranged.sent < len(BODY) + 2 * MIB
