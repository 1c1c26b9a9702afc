"""`hf://`: repositories of a server that the hub's own library takes for the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.fetch import check_uri, fetch
from colonnade.storage.hub import Repository, repository_of
from colonnade.storage.limits import Limits

from .buckets import tree
from .hub_server import Hub, Repo

QUICK = Limits(retry_delay=0.0, read_timeout=5.0)
WEIGHTS = os.urandom(3 << 20)
FILES = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "onnx/model.onnx": b"onnx",
    "onnx/deep/ü b%41.txt": b"words",
    ".gitattributes": b"*.bin filter=lfs\n",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub(
        {
            "acme/tiny": Repo({"main": FILES, "refs/pr/1": {"config.json": b"pr"}, "v1": {"config.json": b"old"}}),
            "acme/closed": Repo({"main": {"config.json": b"{}", "w.bin": WEIGHTS}}, token="hf_very-secret"),
            "acme/gated": Repo({"main": {"config.json": b"{}"}}, token="hf_other", gated=True),
        }
    )
    yield server
    server.close()


def test_the_hubs_own_library_gets_the_same_from_this_server(hub: Hub, tmp_path: Path) -> None:
    found = huggingface_hub.snapshot_download(
        "acme/closed", endpoint=hub.endpoint, local_dir=tmp_path / "theirs", token="hf_very-secret"
    )
    theirs = {path: body for path, body in tree(Path(found)).items() if not path.startswith(".cache")}
    ours = fetch("hf://acme/closed", tmp_path / "ours", env={"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_very-secret"})
    assert theirs == tree(ours) == hub.repos["acme/closed"].revisions["main"]
    listed = huggingface_hub.HfApi(endpoint=hub.endpoint).list_repo_tree("acme/tiny", recursive=True)
    assert {entry.path for entry in listed if isinstance(entry, huggingface_hub.hf_api.RepoFile)} == set(FILES)


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("hf://acme/tiny", FILES),
        ("hf://acme/tiny:v1", {"config.json": b"old"}),
        ("hf://acme/tiny/onnx", {"model.onnx": b"onnx", "deep/ü b%41.txt": b"words"}),
        ("hf://acme/tiny:main/onnx/model.onnx", {"model.onnx": b"onnx"}),
        ("hf://acme/tiny/model.safetensors", {"model.safetensors": WEIGHTS}),
    ],
)
def test_a_repository_a_folder_or_a_file(hub: Hub, tmp_path: Path, uri: str, files: dict[str, bytes]) -> None:
    assert tree(fetch(uri, tmp_path, env={"HF_ENDPOINT": hub.endpoint})) == files


def test_patterns_choose(hub: Hub, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.endpoint, "STORAGE_ALLOW_PATTERNS": "*.json,*.onnx", "STORAGE_IGNORE_PATTERNS": "onnx/*"}
    assert list(tree(fetch("hf://acme/tiny", tmp_path, env=env))) == ["config.json"]


def test_the_token_is_the_hubs_alone(hub: Hub, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_very-secret"}
    assert (fetch("hf://acme/closed", tmp_path, env=env) / "w.bin").read_bytes() == WEIGHTS
    own = [headers.get("authorization") for host, _, headers in hub.seen if host.startswith("127.0.0.1")]
    other = [headers.get("authorization") for host, _, headers in hub.seen if host.startswith("localhost")]
    assert set(own) == {"Bearer hf_very-secret"}
    assert set(other) == {None}


def test_a_commit_that_is_known_costs_no_download(hub: Hub, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.endpoint}
    first = fetch("hf://acme/tiny", tmp_path, env=env)
    hub.seen.clear()
    assert fetch("hf://acme/tiny", tmp_path, env=env) == first
    assert [path for _, path, _ in hub.seen if "/resolve/" in path or "/storage/" in path] == []
    hub.repos["acme/tiny"].revisions["main"] = {**FILES, "config.json": b"new"}
    second = fetch("hf://acme/tiny", tmp_path, env=env)
    assert (second / "config.json").read_bytes() == b"new"
    assert [path for _, path, _ in hub.seen if "/storage/" in path] == [], "the weights are here already"
    assert (first / "model.safetensors").samefile(second / "model.safetensors")


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_what_comes_damaged_is_refused(hub: Hub, tmp_path: Path, path: str) -> None:
    hub.repos["acme/tiny"].revisions["main"]["config.json"] = b'{"a": 1}'
    hub.damaged.add(path)
    with pytest.raises(LoadFailed, match="could not be fetched"):
        fetch("hf://acme/tiny", tmp_path, env={"HF_ENDPOINT": hub.endpoint}, limits=QUICK)
    assert not (tmp_path / "artefacts").exists()


@pytest.mark.parametrize(
    ("uri", "env", "text"),
    [
        ("hf://acme/absent", {}, "HuggingFace resource 'acme/absent' not found, or not for this token."),
        ("hf://acme/tiny:v9", {}, "it has no revision 'v9'"),
        ("hf://acme/gated", {"HF_TOKEN": "hf_very-secret"}, "HuggingFace authentication failed. Set HF_TOKEN or"),
        ("hf://acme/closed", {"HF_TOKEN": "hf_very-secret-2"}, "HuggingFace resource 'acme/closed' not found, or not"),
        ("hf://acme/tiny/none", {}, "No model found in hf://acme/tiny/none"),
    ],
)
def test_faults_are_told_in_kserves_words(hub: Hub, tmp_path: Path, uri: str, env: dict[str, str], text: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        fetch(uri, tmp_path, env={"HF_ENDPOINT": hub.endpoint, **env}, limits=QUICK)
    assert text in caught.value.message
    assert "very-secret" not in caught.value.message


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("hf://tiny", "Invalid Hugging Face URI format. Expected 'hf://owner/model[:revision]', got 'hf://tiny'"),
        ("hf:///tiny", "Hugging Face repository owner cannot be empty in URI: hf:///tiny"),
        ("hf://acme/", "Hugging Face model name cannot be empty in URI: hf://acme/"),
        ("hf://acme/:v1", "Hugging Face model name cannot be empty in URI: hf://acme/:v1"),
        ("hf://acme/tiny/../../api", "holds a name that the hub does not take"),
        ("hf://../tiny", "holds a name that the hub does not take"),
        ("hf://acme/tiny?x=1", "holds a name that the hub does not take"),
    ],
)
def test_addresses_that_name_no_repository(uri: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_uri(uri)
    assert text in caught.value.message


def test_addresses() -> None:
    assert repository_of("hf://acme/tiny") == Repository("acme/tiny", "main", "")
    assert repository_of("hf://acme/tiny:abc/onnx/") == Repository("acme/tiny", "abc", "onnx")
