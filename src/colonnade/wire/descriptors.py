"""The protobuf descriptors that a server of ours shows by reflection.

All services are described from one pool of their own, apart from protobuf's default pool, in which clients register the
same names.
"""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

from colonnade.wire import health_pb2, openinference_pb2, reflection_pb2, reflection_v1alpha_pb2

_FILES = (openinference_pb2, health_pb2, reflection_pb2, reflection_v1alpha_pb2)

SERVICES: tuple[str, ...] = tuple(
    sorted(service.full_name for file in _FILES for service in file.DESCRIPTOR.services_by_name.values())
)
"""Full names of the inference, the health and the reflection services."""


def pool() -> DescriptorPool:
    """A new pool with all of `SERVICES`."""
    made = DescriptorPool()
    for file in _FILES:
        made.AddSerializedFile(file.DESCRIPTOR.serialized_pb)
    return made
