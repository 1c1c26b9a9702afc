"""How each peer serves the models: its own server, the way its documentation tells, and `bench.work` as the model.

Each runs in an environment of its own, so a file here imports its peer, numpy, `bench.work`, and nothing else of ours.
"""
