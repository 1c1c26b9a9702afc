"""The control plane's side of the gateway, without one: what it keeps of it on the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from colonnade.control.layout import Layout
from colonnade.control.routes.gateway_process import GatewayProcess
from colonnade.control.routes.gateway_worker import Listen


async def test_the_gateways_output_is_kept_within_its_limit(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    gateway = GatewayProcess(layout, Listen("127.0.0.1", 0, 0, False), grace=1.0, started=lambda: None)
    rotated = layout.gateway_log.with_name("gateway.log.1")
    with layout.gateway_log.open("ab", buffering=0) as output:  # as the gateway holds it
        output.write(b"x" * 1001)
        keeping = asyncio.create_task(gateway.keep_log(limit=1000))
        async with asyncio.timeout(10):
            while not (rotated.exists() and layout.gateway_log.stat().st_size == 0):
                await asyncio.sleep(0.01)
        output.write(b"more")
        keeping.cancel()
    assert rotated.read_bytes() == b"x" * 1001
    assert rotated.stat().st_mode & 0o777 == 0o600
    assert layout.gateway_log.read_bytes() == b"more"
