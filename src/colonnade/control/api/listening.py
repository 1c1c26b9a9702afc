"""The API on its port: who may come, over what, and the kubeconfig that tells clients of it."""

from __future__ import annotations

import msgspec

from colonnade import defaults, errors
from colonnade.control import kubeconfig
from colonnade.control.layout import Layout
from colonnade.control.settings import Settings
from colonnade.net import App, HttpServer, Limits
from colonnade.net.address import is_loopback, reachable
from colonnade.security import certificates
from colonnade.wire.failures import kubernetes_status


async def listen(app: App, settings: Settings, layout: Layout, token: str) -> tuple[HttpServer, int]:
    """Open the API: TLS for kubectl and the SDKs, which send tokens over nothing else; on loopback HTTP too.

    Returns:
        The server and the port that it has.

    Raises:
        errors.Conflict: the port is taken.
    """
    names = tuple(dict.fromkeys((*certificates.LOOPBACK_NAMES, settings.host)))
    found = certificates.ensure(layout.tls, names)
    server = HttpServer(
        app,
        limits=Limits(body_bytes=defaults.MAX_API_BODY_BYTES),
        ssl=certificates.server_context(found),
        ssl_optional=is_loopback(settings.host),
        refusal=lambda error: (msgspec.json.encode(kubernetes_status(error)), b"application/json"),
    )
    try:
        port = await server.listen_tcp(settings.host, settings.api_port)
    except OSError as error:
        raise errors.Conflict(
            f"Cannot listen on {settings.host}:{settings.api_port}: {error.strerror}. "
            "Choose another port with --api-port (0 picks a free one)."
        ) from error
    url = f"https://{reachable(settings.host, port)}"
    kubeconfig.write(layout.kubeconfig, url, found.ca_pem, token)
    return server, port
