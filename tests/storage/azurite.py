"""Microsoft's own emulator of blob storage, from its npm package in a cached folder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.store import AzureStore

VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
# The emulator's published key, the same everywhere.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def _installed() -> Path:
    """The emulator's program, installed on the first use."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "colonnade-tests", f"azurite-{VERSION}")
    program = root / "node_modules/azurite/dist/src/blob/main.js"
    if not program.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm: the emulator of Azure cannot be installed")
        root.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", str(root), f"azurite@{VERSION}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"the emulator of Azure cannot be installed: {done.stderr[-200:]}")
    return program


class Azurite:
    """The emulator, up."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = f"{endpoint}/{ACCOUNT}"
        self.env = {"AZURE_STORAGE_ENDPOINT": self.endpoint, "AZURE_STORAGE_ACCESS_KEY": KEY}

    def put(self, container: str, blobs: dict[str, bytes], *, public: bool = False) -> None:
        """Make a container and put blobs into it."""
        headers = {
            "x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "x-ms-version": "2021-08-06",
            **({"x-ms-blob-public-access": "container"} if public else {}),
        }
        signed = "PUT" + "\n" * 12 + "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        signed += f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self.endpoint}/{container}?restype=container"
        httpx.put(url, headers=headers).raise_for_status()
        store = AzureStore(
            container,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=self.endpoint,
            client_options={"allow_http": True},
        )
        for name, body in blobs.items():
            obstore.put(store, name, body)


@contextmanager
def serving(folder: Path) -> Iterator[Azurite]:
    """The emulator, up on a free port, with its state in memory."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: the emulator of Azure cannot run")
    words = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    process = subprocess.Popen(
        [node, str(_installed()), *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "listens on" in line:
                yield Azurite(line.split()[-1])
                return
        pytest.fail("the emulator of Azure ended before it listened")
    finally:
        process.kill()
        process.wait()
