"""What the gRPC health service of a replica says, taken from the repository itself, so that it can never disagree with
HTTP.

The empty name and `inference.GRPCInferenceService` stand for the whole server; every model's name is a service of its
own.
"""

from __future__ import annotations

from colonnade.net.grpc_health import Health
from colonnade.server.repository import Repository
from colonnade.wire import grpc as codec

_WHOLE = ("", codec.SERVICE)


def health(repository: Repository) -> Health:
    """The health service over a repository."""

    def serving(service: str) -> bool | None:
        if service in _WHOLE:
            return repository.ready
        hosted = repository.hosted.get(service)
        return None if hosted is None else hosted.ready and not repository.draining

    made = Health(serving, lambda: (*_WHOLE, *repository.hosted))
    repository.on_change.append(lambda: made.close() if repository.draining else made.changed())
    return made
