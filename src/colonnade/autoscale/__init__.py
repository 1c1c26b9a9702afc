"""How many replicas there shall be: a pure function of what was seen, what the manifest says, and the time.

`decision.decide` is the whole of it. It follows one of two rules: `requests` is Knative's (concurrency or requests a
second over a stable and a panic window), `measured` is Kubernetes' and KEDA's (cpu, memory, metrics from
elsewhere, with `behavior`). `settings` reads a manifest into what both need, `windows` keeps what was seen,
`simulation` runs a recorded load through the same function. This room knows no process, socket, clock or store:
`control.autoscaler` brings those. Start with `decision`.
"""
