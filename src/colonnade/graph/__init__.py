"""Execution of an InferenceGraph: which step is called when, with what, and which answer that makes.

A graph is a value (`plan`) that the control plane makes of the manifest and pushes to the gateway with the routes.
`execution` walks it over an abstract call: it hears of answers and decides on the next calls, with KServe's exact
results. `gjson` is the language of conditions. All of it is pure: no socket, no clock, no service is known here; the
gateway brings those. Start reading at `plan`, then `execution`.
"""
