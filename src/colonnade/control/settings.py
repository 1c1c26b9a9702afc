"""What `colonnade up` is told: the settings of one run of the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colonnade import defaults, errors
from colonnade.control.machine.budget import Offer
from colonnade.control.replicas.pooling import Pooling
from colonnade.control.routes.gateway_worker import Certificate
from colonnade.storage.mirror import Mirror


@dataclass(frozen=True)
class Settings:
    """What `colonnade up` is told.

    Attributes:
        state_dir: where everything is kept.
        host: address of all three ports. Any other than loopback makes the gateway ask for the token.
        http_port, grpc_port, api_port: 0 picks a free one.
        domain: the ingress domain of the services' host names.
        manifests: objects to apply once the API answers.
        grace: seconds from the stop's beginning until what is still in flight is cut.
        require_token: the gateway asks for the token on loopback, too.
        gateway_workers: processes of the gateway.
        max_message: bytes of one gRPC message that the gateway takes.
        tls_cert, tls_key: files in PEM; given both, HTTP and gRPC take TLS alone.
        cache_bytes: what models that no service uses may make the cache grow to.
        mirror: folders that stand in for remote places.
        trusted: prefixes of URIs whose models may run code.
        volumes: folders for the claims of `pvc://`, by namespace and name.
        pooling: which replicas are forked by processes that have made their imports.
        parked_bytes: of models of services that sleep, kept in memory; None for a share of the machine's.
        offer: what of the machine replicas may have.
    """

    state_dir: Path
    host: str = defaults.HOST
    http_port: int = defaults.HTTP_PORT
    grpc_port: int = defaults.GRPC_PORT
    api_port: int = defaults.API_PORT
    domain: str = defaults.DOMAIN
    manifests: tuple[dict[str, Any], ...] = ()
    grace: float = defaults.GRACE_PERIOD
    require_token: bool = False
    gateway_workers: int = 1
    max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cache_bytes: int = defaults.CACHE_BYTES
    mirror: Mirror = field(default_factory=Mirror)
    trusted: tuple[str, ...] = ()
    volumes: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    pooling: Pooling = Pooling()  # noqa: RUF009  a value
    parked_bytes: int | None = None
    offer: Offer = field(default_factory=Offer)

    def certificate(self) -> Certificate | None:
        """What the gateway shows over TLS.

        Raises:
            errors.InvalidInput: only one of the files is given, or they cannot be used.
        """
        if self.tls_cert is None and self.tls_key is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise errors.InvalidInput("--tls-cert and --tls-key need each other; give both files.")
        return Certificate.read(self.tls_cert, self.tls_key)
