"""The protobuf descriptors that a server of ours shows by reflection.

The inference service keeps its descriptors out of protobuf's default pool, in which KServe's and Triton's clients
register the same names. So a reflection service must be given this pool: over the default one it would list the
inference service and could not describe it.
"""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from colonnade.wire import openinference_pb2

_FILES = (openinference_pb2, health_pb2, reflection_pb2)

SERVICES: tuple[str, ...] = tuple(
    service.full_name for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()
)
"""Full names of the inference, the health and the reflection service."""


def pool() -> DescriptorPool:
    """A new pool with all of `SERVICES`."""
    made = DescriptorPool()
    for file in _FILES:
        made.AddSerializedFile(file.DESCRIPTOR.serialized_pb)
    return made
