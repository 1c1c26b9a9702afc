"""Archives: what is honest comes out whole, what is not leaves nothing outside and says why."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.errors import LoadFailed
from colonnade.storage.archive import is_archive, unpack
from colonnade.storage.limits import Limits


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def zip_of(path: Path, members: list[tuple[str, bytes, int]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def run(path: Path, tmp_path: Path, limits: Limits | None = None) -> Path:
    folder = tmp_path / "cage" / "out"
    folder.mkdir(parents=True)
    unpack(path, folder, path.name, limits or Limits())
    return folder


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_honest_tar_comes_out_whole(tmp_path: Path, mode: str) -> None:
    path = tar_of(
        tmp_path / "a.tar",
        [
            (member("./", tarfile.DIRTYPE), b""),
            (member("./model/weights.bin"), b"weights"),
            (member("model/run.sh", mode=0o6755), b"#!"),
            (member("model/latest", tarfile.SYMTYPE, "weights.bin"), b""),
            (member("copy.bin", tarfile.LNKTYPE, "model/weights.bin"), b""),
        ],
        mode,
    )
    folder = run(path, tmp_path)
    assert (folder / "model/latest").read_bytes() == b"weights"
    assert (folder / "copy.bin").read_bytes() == b"weights"
    assert stat.S_IMODE((folder / "model/run.sh").stat().st_mode) == 0o755, "set-user bits must not survive"


def test_an_honest_zip_comes_out_whole(tmp_path: Path) -> None:
    path = zip_of(
        tmp_path / "a.zip",
        [("m/", b"", 0o40755), ("m/a.txt", b"text", 0), ("link", b"m/a.txt", stat.S_IFLNK | 0o777)],
    )
    folder = run(path, tmp_path)
    assert (folder / "link").read_bytes() == b"text"


HOSTILE_TARS: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "climbs": [(member("../evil"), b"x")],
    "climbs inside": [(member("a/../../evil"), b"x")],
    "absolute": [(member("/tmp/colonnade-evil"), b"x")],
    "backslash": [(member("..\\evil"), b"x")],
    "link up": [(member("l", tarfile.SYMTYPE, ".."), b"")],
    "link absolute": [(member("l", tarfile.SYMTYPE, "/etc/passwd"), b"")],
    "through a link": [
        (member("d", tarfile.DIRTYPE), b""),
        (member("l", tarfile.SYMTYPE, "d"), b""),
        (member("l/x"), b"x"),
    ],
    "chain that leads out": [
        (member("x", tarfile.SYMTYPE, "."), b""),
        (member("y", tarfile.SYMTYPE, "x/x/x/../../.."), b""),
    ],
    "two harmless links": [
        (member("d/e/f", tarfile.DIRTYPE), b""),
        (member("here", tarfile.SYMTYPE, "."), b""),
        (member("d/e/f/up", tarfile.SYMTYPE, "../../../here/d"), b""),
        (member("out", tarfile.SYMTYPE, "d/e/f/up/../../.."), b""),
    ],
    "loop": [(member("a", tarfile.SYMTYPE, "b"), b""), (member("b", tarfile.SYMTYPE, "a"), b"")],
    "hard link out": [(member("h", tarfile.LNKTYPE, "../../secret"), b"")],
    "hard link absolute": [(member("h", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "hard link to nothing": [(member("h", tarfile.LNKTYPE, "nothing"), b"")],
    "hard link to a link": [(member("l", tarfile.SYMTYPE, "x"), b""), (member("h", tarfile.LNKTYPE, "l"), b"")],
    "character device": [(member("dev", tarfile.CHRTYPE), b"")],
    "block device": [(member("dev", tarfile.BLKTYPE), b"")],
    "pipe": [(member("pipe", tarfile.FIFOTYPE), b"")],
}


@pytest.mark.parametrize("case", HOSTILE_TARS, ids=str)
def test_a_hostile_tar_is_refused_and_writes_nothing_outside(tmp_path: Path, case: str) -> None:
    path = tar_of(tmp_path / "evil.tar.gz", HOSTILE_TARS[case])
    (tmp_path / "cage").mkdir()
    (tmp_path / "cage" / "out").mkdir()
    (tmp_path / "secret").write_text("secret")
    before = {entry for entry in tmp_path.rglob("*") if "out" not in entry.relative_to(tmp_path).parts}
    with pytest.raises(LoadFailed, match=r"refused|cannot be unpacked|damaged"):
        unpack(path, tmp_path / "cage" / "out", "evil.tar.gz", Limits())
    assert {entry for entry in tmp_path.rglob("*") if "out" not in entry.relative_to(tmp_path).parts} == before
    assert not Path("/tmp/colonnade-evil").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x", 0)],
        [("/evil", b"x", 0)],
        [("C:/evil", b"x", 0)],
        [("l", b"/etc/passwd", stat.S_IFLNK | 0o777)],
        [("l", b"../..", stat.S_IFLNK | 0o777)],
        [("d", b"", stat.S_IFCHR | 0o666)],
    ],
)
def test_a_hostile_zip_is_refused(tmp_path: Path, members: list[tuple[str, bytes, int]]) -> None:
    with pytest.raises(LoadFailed, match="refused"):
        run(zip_of(tmp_path / "evil.zip", members), tmp_path)
    assert not (tmp_path / "cage" / "evil").exists()


def test_a_link_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    path = tar_of(
        tmp_path / "a.tar",
        [(member("real"), b"first"), (member("l", tarfile.SYMTYPE, "real"), b""), (member("l"), b"second")],
        "w",
    )
    folder = run(path, tmp_path)
    assert (folder / "real").read_bytes() == b"first"
    assert (folder / "l").read_bytes() == b"second"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bomb_is_stopped_by_ratio_while_it_unpacks(tmp_path: Path, kind: str) -> None:
    zeros = bytes(8 << 20)
    path = tmp_path / f"bomb.{kind}"
    if kind == "tar":
        tar_of(path, [(member("zeros"), zeros)])
    else:
        zip_of(path, [("zeros", zeros, 0)])
    with pytest.raises(LoadFailed, match="more than 100 times its size"):
        run(path, tmp_path, Limits(unpacked_ratio=100, ratio_from=1 << 20))
    written = (tmp_path / "cage/out/zeros").stat().st_size
    assert written <= 100 * path.stat().st_size + (2 << 20), "it must stop while unpacking, not after"


@pytest.mark.parametrize(
    ("limits", "text"),
    [(Limits(unpacked_bytes=1000), "more than 1000 bytes"), (Limits(unpacked_files=3), "more than 3 files")],
)
def test_limits_name_themselves(tmp_path: Path, limits: Limits, text: str) -> None:
    path = tar_of(tmp_path / "a.tar.gz", [(member(f"f{number}"), os.urandom(500)) for number in range(5)])
    with pytest.raises(LoadFailed, match=text):
        run(path, tmp_path, limits)


@pytest.mark.parametrize("keep", [0, 1, 40, 0.5, 0.9])
@pytest.mark.parametrize("make", ["tar.gz", "zip"])
def test_a_truncated_archive_says_that_it_is_damaged(tmp_path: Path, keep: float, make: str) -> None:
    path = tmp_path / f"cut.{make}"
    data = os.urandom(200_000)
    if make == "zip":
        zip_of(path, [("model.bin", data, 0)])
    else:
        tar_of(path, [(member("model.bin"), data)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(LoadFailed, match="damaged"):
        run(path, tmp_path)


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_damaged_bytes_never_escape_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, flips: list[tuple[int, int]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("flip")
    path = tmp_path / f"a.{kind}"
    make: Callable[[], Path] = (
        (lambda: tar_of(path, [(member("d/a"), b"content"), (member("l", tarfile.SYMTYPE, "d/a"), b"")]))
        if kind == "tar"
        else (lambda: zip_of(path, [("d/a", b"content", 0), ("l", b"d/a", stat.S_IFLNK | 0o777)]))
    )
    data = bytearray(make().read_bytes())
    for position, value in flips:
        data[position % len(data)] = value
    path.write_bytes(data)
    try:
        run(path, tmp_path)
    except LoadFailed:
        pass
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "cage"}
    assert {entry.name for entry in (tmp_path / "cage").iterdir()} == {"out"}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("m.tar", True),
        ("m.TAR.GZ", True),
        ("m.tgz", True),
        ("m.zip", True),
        ("m.skops", False),
        ("m.npz", False),
        ("m.joblib.gz", False),
        ("m.pkl", False),
        ("m.onnx", False),
    ],
)
def test_the_name_says_what_is_unpacked(name: str, answer: bool) -> None:
    assert is_archive(name) is answer


def raw_tar(path: Path, blocks: list[tuple[bytes, bytes]], mode: str = "wb") -> Path:
    """A packed tar file of headers as they are given: (type, data)."""
    with gzip.open(path, mode) as file:
        for kind, data in blocks:
            info = tarfile.TarInfo("././@Header")
            info.type, info.size = kind, len(data)
            file.write(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
        file.write(bytes(1024))
    return path


def pax(name: str, size: int) -> bytes:
    record = f" {name}=".encode() + b"x" * size + b"\n"
    length = len(record)
    while length != len(str(length)) + len(record):
        length = len(str(length)) + len(record)
    return str(length).encode() + record


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        pytest.param([(b"L", bytes(4 << 20))], "headers are larger", id="long name"),
        pytest.param([(b"K", bytes(4 << 20))], "headers are larger", id="long link"),
        pytest.param([(b"x", pax("comment", 4 << 20))], "headers are larger", id="PAX"),
        pytest.param([(b"g", pax("comment", 4 << 20))], "headers are larger", id="PAX for all"),
        pytest.param([(b"L", bytes(200_000))] * 8, "headers are larger", id="many long names"),
        pytest.param(
            [block for at in range(80) for block in ((b"g", pax(f"k{at}", 1)), (b"0", b"x"))],
            "headers for all",
            id="all",
        ),
        pytest.param([(b"x", pax("a", 1))] * 1500, "damaged|headers are larger", id="headers of headers"),
    ],
)
def test_headers_cannot_fill_the_memory(tmp_path: Path, blocks: list[tuple[bytes, bytes]], message: str) -> None:
    path = raw_tar(tmp_path / "bomb.tar.gz", blocks)
    with pytest.raises(LoadFailed, match=message):
        run(path, tmp_path)


def test_a_header_of_a_gigabyte_costs_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20), 1))
    tracemalloc.start()
    try:
        with pytest.raises(LoadFailed, match="headers are larger"):
            run(path, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_is_passed_over_is_counted_too(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "layer.tar.gz", [(member("other/zeros"), bytes(8 << 20))])
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(LoadFailed, match="more than 100 times its size"):
        unpack(path, folder, "layer", Limits(unpacked_ratio=100, ratio_from=1 << 20), lambda name: None)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_many_members_of_honest_archives_come_out(tmp_path: Path, form: int) -> None:
    path = tmp_path / "a.tar.gz"
    names = [f"{'folder' * 20}/{'deep' * 30}/{number:04}-ü" for number in range(2000)]
    with tarfile.open(path, "w:gz", format=form, pax_headers={"comment": "abc"}) as tar:
        for name in names:
            info = member(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    folder = run(path, tmp_path)
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == sorted(names)


def test_a_zip_of_too_many_entries_is_refused_before_they_are_objects(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}", b"")
    with pytest.raises(LoadFailed, match="2000 members, and 1000 is the limit"):
        run(path, tmp_path, Limits(unpacked_files=1000))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_unpack_all_at_once_are_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("zeros", bytes(4 << 20))
    with pytest.raises(LoadFailed, match=f"packed by method {method}; pack it by deflate"):
        run(path, tmp_path)
