"""Protocols as pure encode and decode: V1, Open Inference Protocol V2 (JSON, binary, gRPC), and how failures are said.

Bytes or messages come in, `tensors.InferRequest` comes out, and back. This room does no I/O and knows no model, server,
socket or clock. It refuses what is malformed with `errors.InvalidInput`, in words that name the input, the value and
the fix; nothing that a client can send raises anything else. Start with `tensors` (the values), then `v2`; `elements`
and `rawdata` turn JSON lists and raw bytes into arrays and back, and `grpc` shares them. The files `*_pb2.py` and their
`.pyi` are generated, and use descriptor pools of their own: the KServe and Triton clients and gRPC's own packages
register messages of the same names in the default pool, and user code may import them beside us. In this folder:

    python -m grpc_tools.protoc -I . --python_out . --pyi_out . *.proto
    sed -i 's/_descriptor_pool[.]Default()/_descriptor_pool.DescriptorPool()/' *_pb2.py
    sed -i '1i # ruff: noqa\n# fmt: off' *_pb2.pyi
"""
