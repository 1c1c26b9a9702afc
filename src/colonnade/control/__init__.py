"""The control plane: what is wanted, and the loops that make it so.

For: the resource store (`store`), the Kubernetes-shaped API over it (`api`), admission of writes (`admission`), and the
reconcilers that turn stored resources into replicas and status. Must not know: how a request is predicted, or any byte
of the data path; serving goes on when this room is down, so nothing here may be asked by the gateway during a request.
The decisions and shells of each concern have a room of their own below this one; `docs/architecture.md` lists them.
Start reading at `store.py` (what everything hangs on), then `api/app.py`, then `plane.py`.
"""
