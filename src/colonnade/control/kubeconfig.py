"""The kubeconfig that lets kubectl and the SDKs find and trust the API."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from colonnade.security import files

NAME = "colonnade"


def write(path: Path, server: str, ca_pem: bytes | str, token: str) -> None:
    """Writes the file with mode 0600, whole or not at all.

    Args:
        path: the file; an older one is replaced.
        server: URL of the API, `https://…`: kubectl sends the token over TLS only.
        ca_pem: certificate of the authority that signed the API's certificate.
        token: the bearer token.
    """
    authority = ca_pem.encode() if isinstance(ca_pem, str) else ca_pem
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
        "current-context": NAME,
    }
    files.write(path, yaml.safe_dump(config, sort_keys=False).encode())
