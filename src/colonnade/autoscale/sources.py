"""Where the values come from by which a `MeasuredRule` decides. `control.measuring` reads them."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Usage(NamedTuple):
    """What the processes of the replicas use: `cpu` in cores, `memory` in bytes; or a percent of what they request."""

    resource: Literal["cpu", "memory"]
    percent: bool = True


class Query(NamedTuple):
    """What a metric server answers to a query.

    Attributes:
        namespace: of the metric server's own, for those that have them; "" if not given.
        secret: the Secret with the credentials, or "".
        modes: how they are shown: of KEDA's `basic`, `bearer`, `custom`, separated by commas.
    """

    backend: Literal["prometheus", "graphite"]
    address: str
    query: str
    namespace: str = ""
    secret: str = ""
    modes: str = ""


class Told(NamedTuple):
    """What the replicas themselves tell on /metrics: the sum over them, over time as `operation` says."""

    query: str
    operation: str = "last_one"


Source = Usage | Query | Told
