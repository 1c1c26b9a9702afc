"""The whole scan: which files an artefact has, what its digest is, who may load it, and what is remembered."""

from __future__ import annotations

import os
import socket
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade import defaults
from colonnade.errors import LoadFailed
from colonnade.storage.fetch import fetch
from colonnade.storage.scan import Consent, Finding, Report, Risk, Verdict, digest, examine
from colonnade.storage.scan.memory import Memory
from colonnade.storage.scan.report import Scan, judge
from colonnade.storage.scan.walk import walk

from .build import evil_pickle, risks, said, zipped

GOOD = b'{"learner": {}}'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.json").write_bytes(GOOD)
    (folder / "sub" / "vocab.txt").write_text("the\n")
    return folder


# The files of an artefact.


def test_links_inside_are_followed_and_counted_as_what_they_name(model: Path) -> None:
    (model / "latest.json").symlink_to("model.json")
    (model / "again").symlink_to("sub", target_is_directory=True)
    report = examine(model)
    assert (report.verdict, report.scan.files, report.scan.formats) == (Verdict.PASSED, 4, {"json": 2, "other": 2})


def test_what_leads_out_of_the_folder_or_would_hang_is_unsafe(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (model / "out").symlink_to("../secret")
    (model / "absolute").symlink_to("/etc/passwd")
    (model / "parent").symlink_to("..", target_is_directory=True)
    (model / "nowhere").symlink_to("/no/such/file")
    (model / "circle").symlink_to(".", target_is_directory=True)
    (model / "chain").symlink_to("out")
    (model / "device").symlink_to("/dev/zero")
    os.mkfifo(model / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(model / "socket"))
    report = examine(model, consent=Consent.GIVEN)
    assert report.verdict is Verdict.REFUSED
    assert {each.file: each.risk for each in report.scan.findings} == dict.fromkeys(
        ("out", "absolute", "parent", "nowhere", "circle", "chain", "device", "pipe", "socket"), Risk.UNSAFE
    )
    assert "lies outside of the model; copy it there" in said(report)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_a_device_is_no_model() -> None:
    assert risks(examine(Path("/dev/zero"))) == {Risk.UNSAFE}


def test_what_is_missing_is_damaged(model: Path, tmp_path: Path) -> None:
    (model / "lost.bin").symlink_to("sub/was-here.bin")
    assert risks(examine(model)) == {Risk.DAMAGED}
    assert "No such file" in examine(tmp_path / "nothing").message
    (tmp_path / "empty").mkdir()
    assert "it is empty" in examine(tmp_path / "empty").message


def test_a_folder_of_too_many_files_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "MAX_UNPACKED_FILES", 10)
    for number in range(11):
        (tmp_path / f"{number}.txt").touch()
    assert "more than 10 files" in examine(tmp_path).message


def test_odd_names_do_no_harm(tmp_path: Path) -> None:
    for name in (
        b"\xff\xfe.json",
        b"new\nline.json",
        b"back\\slash.json",
        "ü ñ.json".encode(),
        b"-rf",
        b"$(true).json",
    ):
        (tmp_path / os.fsdecode(name)).write_bytes(GOOD)
    report = examine(tmp_path, memory=tmp_path / "memory")
    assert report.verdict is Verdict.PASSED
    assert report.scan.formats == {"json": 5, "other": 1}


# The digest.


def _sha256sum(folder: Path) -> str:
    listed = "find -L . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    done = subprocess.run(["bash", "-c", listed], cwd=folder, check=True, capture_output=True, text=True)
    return f"sha256:{done.stdout.split()[0]}"


def test_the_digest_of_a_folder_is_what_common_tools_compute(model: Path) -> None:
    for name in ("Z", "a b", "back\\slash", "new\nline", "sub/é", "a.b", "a-b"):
        (model / name).write_text(name)
    (model / "link").symlink_to("Z")
    assert examine(model).scan.digest == _sha256sum(model)


def test_one_file_has_the_digest_of_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.json").write_bytes(GOOD)
    (tmp_path / "b.json").write_bytes(GOOD)
    expected = (
        "sha256:"
        + subprocess.run(
            ["sha256sum", str(tmp_path / "b.json")], check=True, capture_output=True, text=True
        ).stdout.split()[0]
    )
    assert examine(folder).scan.digest == examine(tmp_path / "b.json").scan.digest == expected


@given(st.dictionaries(st.text(st.characters(exclude_characters="\0"), min_size=1), st.just("0" * 64), min_size=2))
def test_no_name_can_forge_another_manifest(names: dict[str, str]) -> None:
    try:
        lines = digest.manifest(names).split(b"\n")
    except UnicodeEncodeError:
        return  # no name of a file on this system
    assert len(lines) == len(names) + 1


# The verdict.


def _finding(risk: Risk) -> Scan:
    return Scan("sha256:" + "0" * 64, 1, 1, {}, (Finding("m", "pickle", risk, "it asks for os.system"),), "now")


@pytest.mark.parametrize(
    ("risk", "consent", "verdict"),
    [
        (Risk.CODE, Consent.NONE, Verdict.REFUSED),
        (Risk.CODE, Consent.LOCAL, Verdict.REFUSED),
        (Risk.CODE, Consent.GIVEN, Verdict.CONSENTED),
        (Risk.PROGRAM, Consent.NONE, Verdict.REFUSED),
        (Risk.PROGRAM, Consent.LOCAL, Verdict.CONSENTED),
        (Risk.PROGRAM, Consent.GIVEN, Verdict.CONSENTED),
        *((risk, consent, Verdict.REFUSED) for risk in (Risk.DAMAGED, Risk.UNSAFE) for consent in Consent),
    ],
)
def test_consent_lifts_code_and_nothing_else(risk: Risk, consent: Consent, verdict: Verdict) -> None:
    report = judge("model", _finding(risk), consent, None)
    assert (report.verdict, report.passed) == (verdict, verdict is not Verdict.REFUSED)
    asks = verdict is Verdict.REFUSED and risk in (Risk.CODE, Risk.PROGRAM)
    assert ('colonnade.dev/trust-code: "true"' in report.message) == asks


def test_a_pin_takes_its_model_and_no_other(model: Path) -> None:
    right = examine(model).scan.digest
    assert examine(model, pin=right).passed
    (model / "model.json").write_bytes(b'{"learner": {"a": 1}}')
    changed = examine(model, pin=right, consent=Consent.GIVEN)
    assert not changed.passed
    assert right in changed.message
    assert changed.scan.digest in changed.message


def test_a_model_that_cannot_be_read_whole_fits_no_pin(model: Path) -> None:
    right = examine(model).scan.digest
    os.mkfifo(model / "pipe")
    assert not examine(model, pin=right).passed


# What is remembered.


def _old(folder: Path) -> None:
    """Makes files look as if they had been there for a while."""
    for path in sorted(folder.rglob("*")):
        os.utime(path, (1, 1))


def _marked(memory: Path) -> None:
    """Changes what is remembered, so that a scan that uses it shows."""
    for file in memory.glob("content-*"):
        scan = msgspec.json.decode(file.read_bytes(), type=Scan)
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(scan, at="remembered")))


def test_what_is_unchanged_is_not_looked_at_again(model: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    first = examine(model, memory=memory)
    _marked(memory)
    assert examine(model, memory=memory).scan.at == "remembered"
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(model), str(copy)], check=True)
    assert examine(copy, memory=memory).scan.at == "remembered", "the same content elsewhere"
    (model / "sub" / "vocab.txt").write_text("a\n")
    changed = examine(model, memory=memory)
    assert changed.scan.at != "remembered"
    assert changed.scan.digest != first.scan.digest
    os.mkfifo(model / "pipe")
    assert not examine(model, memory=memory).passed, "what lies beside the files is always looked at"


def test_consent_is_not_remembered(tmp_path: Path) -> None:
    path, memory = tmp_path / "m.pkl", tmp_path / "memory"
    path.write_bytes(evil_pickle(tmp_path / "ran"))
    verdicts = [examine(path, consent=each, memory=memory).verdict for each in (Consent.GIVEN, Consent.NONE)]
    assert verdicts == [Verdict.CONSENTED, Verdict.REFUSED]


def test_a_file_that_has_just_changed_is_hashed_again(model: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory")
    tree = walk(model)
    memory.remember_digests(model, tree, {"model.json": "0"})
    assert memory.digests(model, tree) is None, "its stamp may not tell the next change"
    tree.newest = 0.0
    memory.remember_digests(model, tree, {"model.json": "0"})
    assert memory.digests(model, tree) == {"model.json": "0"}
    _old(model)
    assert memory.digests(model, walk(model)) is None, "other stamps"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 9])
def test_a_damaged_memory_is_made_again(model: Path, tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "memory"
    first = examine(model, memory=memory)
    for file in memory.iterdir():
        file.write_bytes(content)
    assert examine(model, memory=memory).scan.digest == first.scan.digest


def test_a_memory_that_cannot_be_written_costs_nothing_but_time(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert examine(model, memory=tmp_path / "file" / "memory").passed


def test_reports_pass_through_json(model: Path) -> None:
    report = examine(model)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            "m.safetensors",
            "m.onnx",
            "m.json",
            "m.ubj",
            "m.pmml",
            "m.npy",
            "m.npz",
            "m.pt",
            "m.bin",
            "m.pt2",
            "m.keras",
            "m.h5",
            "m.skops",
            "saved_model.pb",
            "MLmodel",
            "m.gz",
            "m.gguf",
            "m.bst",
            "requirements.txt",
            "config.json",
            "m.pkl",
        ]
    ),
)
def test_no_bytes_break_the_scan(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    heads = {"npy": b"\x93NUMPY\x01\x00", "h5": b"\x89HDF\r\n\x1a\n", "ubj": b"{", "gz": b"\x1f\x8b"}
    for head in (b"", heads.get(name.rpartition(".")[2], b"PK\x03\x04")):
        path.write_bytes(head + content)
        assert "cannot be examined" not in said(examine(path))


# Archives: they are unpacked by the fetch, which refuses what would do harm before anything is there to scan.


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    import io

    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("case", ["zip bomb", "traversal", "link out", "device", "cut zip", "cut tar"])
def test_a_hostile_or_cut_archive_is_never_unpacked(tmp_path: Path, case: str) -> None:
    import zipfile

    path = tmp_path / ("m.zip" if "zip" in case else "m.tar.gz")
    if case == "zip bomb":
        path.write_bytes(zipped({"x": bytes(128 << 20)}, zipfile.ZIP_DEFLATED))
    elif case == "traversal":
        _tar(path, (_member("../evil.json"), GOOD))
    elif case == "link out":
        _tar(path, (_member("model.json", tarfile.SYMTYPE, "/etc/passwd"), b""))
    elif case == "device":
        _tar(path, (_member("model.json", tarfile.CHRTYPE), b""))
    elif case == "cut zip":
        path.write_bytes(zipped({"model.json": GOOD})[:-9])
    else:
        content = _tar(path, (_member("model.json"), os.urandom(4096))).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LoadFailed):
        fetch(str(path), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("artefacts/*"))
    assert not (tmp_path / "evil.json").exists()


def test_an_honest_archive_is_scanned_as_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    path.write_bytes(zipped({"model.pkl": evil_pickle(tmp_path / "ran")}))
    report = examine(fetch(str(path), tmp_path / "cache"))
    assert report.verdict is Verdict.REFUSED
    assert "posix.system" in report.message
    assert not (tmp_path / "ran").exists()
