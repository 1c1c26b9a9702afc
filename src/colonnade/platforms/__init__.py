"""Where replicas run.

A platform starts and stops replicas, watches them, probes their readiness and keeps their output. It must not know
what a model, an InferenceService or a route is: it is given an argument vector, an environment and a probe, and
reports states. Start reading in `base.py` (the contract), then `local.py` (processes of this machine).
"""
