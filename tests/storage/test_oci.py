"""`oci://`: images and artefacts in a registry of ours, in the reference implementation, and pushed by `oras`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import oras.client
import pytest

from colonnade.errors import LoadFailed
from colonnade.storage.fetch import fetch
from colonnade.storage.limits import Limits
from colonnade.storage.registry import architecture

from .buckets import tree
from .images import DOCKER, OCI, Pusher, layer
from .registry_server import BASIC, LOGIN, OPEN, TOKEN, Registry, reference_program, reference_registry

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)
MODEL = layer({"models": None, "models/model.joblib": b"model", "models/1/weights.bin": b"w" * 5000})


@pytest.fixture
def registry() -> Iterator[Registry]:
    found = Registry(OPEN)
    yield found
    found.close()


@pytest.fixture(params=["ours", "reference"])
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "ours":
        found = Registry(OPEN)
        yield found.host
        found.close()
        return
    program = reference_program()
    if program is None:
        pytest.skip("no docker-registry on this machine")
    with reference_registry(program) as name:
        yield name


@pytest.mark.parametrize("scheme", ["oci", "oci+fetch", "oci+native"])
def test_an_image_gives_what_is_in_its_models(host: str, tmp_path: Path, scheme: str) -> None:
    pusher = Pusher(host, "team/iris")
    base = layer({"etc/passwd": b"root", "dev/null": ("device", ""), "bin/sh": ("symlink", "/busybox")})
    pusher.image([base, MODEL], tag="v1")
    uri = f"{scheme}{pusher.uri.removeprefix('oci')}:v1"
    assert tree(fetch(uri, tmp_path, env={})) == {"model.joblib": b"model", "1/weights.bin": b"w" * 5000}


def test_what_oras_pushed_comes_back(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    (work / "tokenizer").mkdir(parents=True)
    (work / "model.onnx").write_bytes(os.urandom(2 << 20))
    (work / "tokenizer/vocab.txt").write_bytes(b"words")
    monkeypatch.chdir(work)
    client = oras.client.OrasClient(insecure=True)
    client.push(target=f"{host}/team/artefact:v1", files=["model.onnx"], manifest_annotations={"a": "b"})
    client.push(target=f"{host}/team/artefact:v2", files=["model.onnx", "tokenizer"])
    assert tree(fetch(f"oci://{host}/team/artefact:v1", tmp_path / "c", env={})) == {
        "model.onnx": (work / "model.onnx").read_bytes()
    }
    assert tree(fetch(f"oci://{host}/team/artefact:v2", tmp_path / "c", env={})) == tree(work)


@pytest.mark.parametrize("kind", [OCI, f"{OCI}+gzip", f"{OCI}+zstd", DOCKER])
def test_kinds_of_layers(registry: Registry, tmp_path: Path, kind: str) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image([layer({"./models/m.bin": b"m"}, kind)])
    assert tree(fetch(pusher.uri, tmp_path, env={})) == {"m.bin": b"m"}


def test_later_layers_lie_over_earlier_ones(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image(
        [
            layer({"models/a": b"1", "models/b": b"1", "models/d/x": b"1", "models/e/x": b"1", "models/f": b"1"}),
            layer({"models/a": b"2", "models/.wh.b": b"", "models/d/.wh..wh..opq": b"", "models/d/y": b"2"}),
            layer(
                {
                    "models/f/now-a-folder": b"3",
                    "models/.wh.e": b"",
                    "models/g": b"3",
                    "models/h": ("hardlink", "models/g"),
                }
            ),
        ]
    )
    expected = {"a": b"2", "d/y": b"2", "f/now-a-folder": b"3", "g": b"3", "h": b"3"}
    assert tree(fetch(pusher.uri, tmp_path, env={})) == expected


@pytest.mark.parametrize("mark", ["models/.wh..wh..opq", ".wh.models"])
def test_a_layer_may_begin_the_models_anew(registry: Registry, tmp_path: Path, mark: str) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image([layer({"models/old": b"1"}), layer({mark: b"", "models/new": b"2"})])
    assert tree(fetch(pusher.uri, tmp_path, env={})) == {"new": b"2"}


def test_a_link_of_one_layer_is_not_gone_through_by_the_next(registry: Registry, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    pusher = Pusher(registry.host, "iris")
    pusher.image([layer({"models/a/x": b"1", "models/link": ("symlink", "a")}), layer({"models/link/y": b"2"})])
    assert tree(fetch(pusher.uri, tmp_path / "c", env={})) == {"a/x": b"1", "link/y": b"2"}
    pusher.image([layer({"models/link": ("symlink", str(outside))}), layer({"models/link/y": b"2"})], tag="evil")
    with pytest.raises(LoadFailed, match="leaves its folder; refused"):
        fetch(f"{pusher.uri}:evil", tmp_path / "c", env={})
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"models/../../evil": b"x"}, "outside its folder"),
        ({"models/pipe": ("device", "")}, "a device or a pipe"),
        ({"models/evil": ("symlink", "../../../etc/passwd")}, "leaves its folder"),
        ({"models/evil": ("hardlink", "etc/passwd")}, "hard link"),
        ({"app/x": b"x"}, "has no /models/ directory"),
    ],
)
def test_hostile_and_foreign_images_are_refused(
    registry: Registry, tmp_path: Path, members: dict[str, bytes], text: str
) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image([layer(dict(members))])
    with pytest.raises(LoadFailed, match=text):
        fetch(pusher.uri, tmp_path, env={})
    assert not (tmp_path / "artefacts").exists()


def test_a_layer_that_grows_past_the_limit_is_refused(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    for kind in (f"{OCI}+gzip", f"{OCI}+zstd"):
        pusher.image([layer({"models/zeros": bytes(4 << 20)}, kind)])
        with pytest.raises(LoadFailed, match="unpacks to more than"):
            fetch(pusher.uri, tmp_path, env={}, limits=Limits(unpacked_bytes=1 << 20))


def test_an_index_gives_the_image_for_this_machine(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    mine = pusher.image([layer({"models/m": b"mine"})], tag="a")
    other = pusher.image([layer({"models/m": b"other"})], tag="b")
    here = {"os": "linux", "architecture": architecture()}
    elsewhere = {"os": "linux", "architecture": "s390x"}
    attestation = {"os": "unknown", "architecture": "unknown"}
    pusher.index([{**other, "platform": elsewhere}, {**other, "platform": attestation}, {**mine, "platform": here}])
    assert tree(fetch(pusher.uri, tmp_path, env={})) == {"m": b"mine"}
    pusher.index([{**other, "platform": elsewhere}], tag="foreign")
    with pytest.raises(LoadFailed, match=f"has no manifest for linux/{architecture()}; it has linux/s390x"):
        fetch(f"{pusher.uri}:foreign", tmp_path, env={})


def test_a_digest_pins(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    first = pusher.image([layer({"models/m": b"1"})])
    pusher.image([layer({"models/m": b"2"})])
    assert tree(fetch(f"{pusher.uri}:latest@{first['digest']}", tmp_path, env={})) == {"m": b"1"}
    assert tree(fetch(pusher.uri, tmp_path, env={})) == {"m": b"2"}
    kind, body = registry.manifests["iris", first["digest"]]
    registry.manifests["iris", first["digest"]] = kind, body + b" "
    with pytest.raises(LoadFailed, match="the registry sent sha256:"):
        fetch(f"{pusher.uri}@{first['digest']}", tmp_path / "other", env={})


def test_an_image_that_is_known_is_not_pulled_again(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image([MODEL])
    first = fetch(pusher.uri, tmp_path, env={})
    registry.seen.clear()
    assert fetch(pusher.uri, tmp_path, env={}) == first
    assert [path for _, path, _ in registry.seen] == ["/v2/iris/manifests/latest"]


def test_a_damaged_layer_is_refused(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image([MODEL])
    registry.damaged = set(registry.blobs)
    with pytest.raises(LoadFailed, match="could not be fetched in 3 tries"):
        fetch(pusher.uri, tmp_path, env={}, limits=QUICK)


def docker_config(host: str, user: str, password: str) -> str:
    packed = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": packed}, "other.example": {"auth": "bm90OmhlcmU="}}})


@pytest.mark.parametrize("how", [BASIC, TOKEN])
@pytest.mark.parametrize("form", ["text", "file"])
def test_a_closed_registry_opens_to_a_docker_config(tmp_path: Path, how: str, form: str) -> None:
    registry = Registry(OPEN)
    try:
        pusher = Pusher(registry.host, "team/iris")
        pusher.image([MODEL])
        registry.how = how
        config = docker_config(registry.host, *LOGIN)
        (tmp_path / "config.json").write_text(config)
        env = {
            "text": {"DOCKER_AUTH_CONFIG": config},
            "file": {"KSERVE_OCI_DOCKER_CONFIG": str(tmp_path / "config.json")},
        }[form]
        assert "model.joblib" in tree(fetch(pusher.uri, tmp_path / "c", env=env))
        for wrong in ({}, {"DOCKER_AUTH_CONFIG": docker_config(registry.host, "puller", "wrong-secret")}):
            with pytest.raises(LoadFailed, match="OCI authentication failed") as caught:
                fetch(pusher.uri, tmp_path / "c", env=wrong)
            assert "secret" not in caught.value.message.replace("a Secret", "")
    finally:
        registry.close()


def test_a_token_that_ends_during_the_pull_is_renewed(tmp_path: Path) -> None:
    registry = Registry(OPEN)
    try:
        pusher = Pusher(registry.host, "iris")
        pusher.image([layer({f"models/{number}": os.urandom(2000)}) for number in range(9)])
        registry.how, registry.reads_per_token = TOKEN, 2
        env = {"DOCKER_AUTH_CONFIG": docker_config(registry.host, *LOGIN)}
        assert len(tree(fetch(pusher.uri, tmp_path, env=env, limits=Limits(connections=1)))) == 9
    finally:
        registry.close()


def test_patterns_choose_among_an_artefacts_files(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"a")
    (tmp_path / "b.md").write_bytes(b"b")
    target = f"{registry.host}/team/artefact:v1"
    oras.client.OrasClient(insecure=True).push(target=target, files=["a.onnx", "b.md"])
    env = {"STORAGE_IGNORE_PATTERNS": "*.md"}
    assert tree(fetch(f"oci://{target}", tmp_path / "c", env=env)) == {"a.onnx": b"a"}
    assert sorted(tree(fetch(f"oci://{target}", tmp_path / "c", env={}))) == ["a.onnx", "b.md"]


def test_faults_are_told(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"OCI resource '127.*/absent' not found"):
        fetch(f"oci://{registry.host}/absent:v1", tmp_path, env={}, limits=QUICK)
    with pytest.raises(LoadFailed, match="could not be fetched in 3 tries"):
        fetch("oci://127.0.0.1:9/absent:v1", tmp_path, env={}, limits=QUICK)


def test_layers_are_held_to_the_limit_together(registry: Registry, tmp_path: Path) -> None:
    pusher = Pusher(registry.host, "iris")
    pusher.image([layer({"models/weights.bin": os.urandom(600_000)})] * 4)
    with pytest.raises(LoadFailed, match=r"the layers of .* unpack to more than 2000000 bytes"):
        fetch(pusher.uri, tmp_path, env={}, limits=Limits(unpacked_bytes=2_000_000))
