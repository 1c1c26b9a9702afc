"""The payload log: what services were asked and what they answered, as CloudEvents or as files.

The gateway sees every request anyway, so no sidecar stands before a replica. A `tap` notes what went by and gives it to
the `channel`, which is bounded and never waits: what does not fit is dropped and counted. Behind it is a process of its
own (`python -m colonnade.gateway.payloads`) that redacts, encodes, sends, retries and writes files, so none of that
takes time from the loop that forwards. It knows nothing of routes and replicas. Start reading at `tap`, then `writer`.
"""
