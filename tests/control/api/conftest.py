"""The real API on a real socket with TLS, and the real kubectl against it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from colonnade.control import kubeconfig
from colonnade.control.api import api
from colonnade.control.store import Ref, Store
from colonnade.net import HttpServer, Limits
from colonnade.security import certificates

from .api_cluster import GROUP, PLURAL, TOKEN, Cluster, Folder


@pytest.fixture(scope="session")
def kubectl_present() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    store = Store(folder / "colonnade.db")
    logs = Folder(folder)
    made = certificates.ensure(folder / "tls")
    ready = threading.Event()
    ports: list[int] = []
    stop: list[Any] = []

    async def serve() -> None:
        ended = asyncio.Event()
        server = HttpServer(
            api(store, token=TOKEN, logs=logs, bookmark_interval=0.3),
            limits=Limits(body_bytes=3 << 20),
            ssl=certificates.server_context(made),
            ssl_optional=True,
        )
        ports.append(await server.listen_tcp("127.0.0.1", 0))
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        ready.set()
        await ended.wait()
        await server.drain(0.2)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    url = f"https://127.0.0.1:{ports[0]}"
    config = folder / "kubeconfig"
    kubeconfig.write(config, url, made.ca_pem, TOKEN)
    trust = ssl.create_default_context(cadata=made.ca_pem.decode())
    home = {"HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    with httpx.Client(
        base_url=url, verify=trust, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=20
    ) as http:
        yield Cluster(store, url, config, logs, http, home)
    stop[0]()
    thread.join(10)
    store.close()


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds no services but its own."""
    yield
    if "cluster" in request.fixturenames:
        store = request.getfixturevalue("cluster").store
        for resource, group in ((PLURAL, GROUP), ("configmaps", ""), ("secrets", ""), ("pods", ""), ("events", "")):
            for found in store.list(group, resource)[0]:
                store.delete(Ref(group, resource, found["metadata"]["namespace"], found["metadata"]["name"]))
