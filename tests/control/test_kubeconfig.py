"""The kubeconfig is private and whole."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import yaml

from colonnade.control import kubeconfig


def test_it_is_private_and_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    kubeconfig.write(path, "https://127.0.0.1:1", b"PEM", "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]) == b"PEM"
    assert config["users"][0]["user"] == {"token": "secret"}
    assert config["contexts"][0]["context"]["namespace"] == "default"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kubeconfig"]
