"""Colonnade and its peers side by side: the same models, the same requests, one core, one run.

Start at `run`: it goes through the `workloads`, starts the `servers`, loads them in turn and hands what it measured to
`report`, which holds it against the `goals`. Nothing of the product imports this package.
"""
