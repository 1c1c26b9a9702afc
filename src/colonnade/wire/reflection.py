"""Answers to gRPC's server reflection: a request message in, the answer's message out. Pure.

The messages of v1 and of v1alpha are the same on the wire, so one set of them serves both services.
Source: grpc/reflection/v1/reflection.proto.
"""

from __future__ import annotations

from google.protobuf.descriptor import FileDescriptor

from colonnade.wire import descriptors
from colonnade.wire.reflection_pb2 import (
    ErrorResponse,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)

_NOT_FOUND = 5
_POOL = descriptors.pool()


def answer(request: ServerReflectionRequest) -> ServerReflectionResponse:
    """What is known of what was asked for; an error response in the answer for what is not."""
    response = ServerReflectionResponse(valid_host=request.host, original_request=request)
    asked = request.WhichOneof("message_request")
    try:
        if asked == "list_services":
            names = [ServiceResponse(name=name) for name in descriptors.SERVICES]
            response.list_services_response.CopyFrom(ListServiceResponse(service=names))
        elif asked == "file_by_filename":
            response.file_descriptor_response.CopyFrom(_described(_POOL.FindFileByName(request.file_by_filename)))
        elif asked == "file_containing_symbol":
            response.file_descriptor_response.CopyFrom(_described(_containing(request.file_containing_symbol)))
        elif asked == "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            _POOL.FindMessageTypeByName(name)
            response.all_extension_numbers_response.base_type_name = name  # no message here has extensions
        else:
            raise KeyError("an extension, or nothing")
    except KeyError:
        text = "not found; ask for list_services first"
        response.error_response.CopyFrom(ErrorResponse(error_code=_NOT_FOUND, error_message=text))
    return response


def _containing(symbol: str) -> FileDescriptor:
    try:
        return _POOL.FindFileContainingSymbol(symbol)
    except KeyError:  # the pool does not look for methods there
        return _POOL.FindMethodByName(symbol).containing_service.file


def _described(file: FileDescriptor) -> FileDescriptorResponse:
    """A file and all that it imports."""
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one.name not in found:
            found[one.name] = one.serialized_pb
            waiting.extend(one.dependencies)
    return FileDescriptorResponse(file_descriptor_proto=list(found.values()))
