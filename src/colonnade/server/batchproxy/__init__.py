"""`python -m colonnade.server.batchproxy`: joins requests before an HTTP server that is not ours.

What the built-in server does with arrays in its own process is done here with bodies, between the gateway and a program
that answers KServe's V1 or V2: rows of requests that wait at the same time become one request, and its answer is parted
again. All other requests pass. Start reading at `bodies` (what can be joined), then `line` (when, and with whom).
"""
