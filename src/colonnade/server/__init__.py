"""The replica: one process that hosts a model and speaks V1, V2 and gRPC, alone or under the platform.

`python -m colonnade.server` starts it on an artefact, `colonnade.serve` from a user's script. It brings together what
the rooms below do apart: `net` moves bytes, `wire` reads and writes protocols, `model` binds hooks, `runtimes` loads
artefacts. It must not know gateways, manifests, other replicas or who started it. Start reading at `process` (from
start to end of the process), then `routes` and `call` (an HTTP request), `execution` and `lane` (where a model runs).
"""
