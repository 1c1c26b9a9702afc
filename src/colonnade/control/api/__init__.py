"""The Kubernetes-shaped REST API over the store, so that kubectl and the KServe SDK work unmodified.

For: discovery, OpenAPI, reading, watching, writing and pod logs, as Kubernetes' API conventions say. Must not know:
what the objects mean (that is `resources`), or how they become replicas (the reconcilers see the store, not this). Pure
parts stand alone (`paths`, `selectors`, `patches`, `ownership`, `tables`); `app` puts them behind HTTP.
Start reading at `app.py`, then `reading.py` and `writing.py`.
"""

from colonnade.control.api.app import api
from colonnade.control.api.logs import LogSource

__all__ = ["LogSource", "api"]
