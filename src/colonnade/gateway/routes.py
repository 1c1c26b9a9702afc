"""What is served where: the route table that the control plane pushes.

The table is a value: the control plane sends all of it at each change and the gateway swaps it in whole, so there is no
state in which one half of a change is live. A route is one component of a service, and its targets are the revisions of
that component which serve at the same time. `matching` finds the route of a request, `split` the target.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from colonnade import defaults
from colonnade.gateway.guard import Policy
from colonnade.gateway.payloads.settings import Logging
from colonnade.graph.plan import Plan

# One call reaches one replica, and the next one that starts would not know of it: what is loaded is what is declared.
LIFECYCLE = (
    "The platform loads and unloads models, in all replicas: change the InferenceService instead, or apply or delete a "
    "TrainedModel. "
    "A server that stands alone takes this call."
)


class Backend(msgspec.Struct, frozen=True):
    """One ready replica. Addresses are `unix:/path` or `host:port`.

    Attributes:
        name: the pod's name, for logs and metrics.
        http: where it speaks HTTP/1.1.
        grpc: where it speaks gRPC, or None if it does not.
        mux: it is of this product and takes many requests on one connection at `http`, a Unix socket (see `net.mux`).
        tls: it is spoken to over TLS, and its certificate must be good for its host.
    """

    name: str
    http: str
    grpc: str | None = None
    mux: bool = False
    tls: bool = False


class Target(msgspec.Struct, frozen=True):
    """One revision of a component.

    Attributes:
        revision: its name; unique within the component.
        weight: its share of the requests is `weight` of the sum of all weights of the route, so any unit will do:
            percents, or hundredths of one for a slow rollout. With 0 it is reached by its hosts alone.
        backends: its ready replicas.
        hosts: tag hosts, such as `latest-…`: all requests for these go here, whatever the weights say.
    """

    revision: str
    weight: int = 100
    backends: tuple[Backend, ...] = ()
    hosts: tuple[str, ...] = ()


class Hold(msgspec.Struct, frozen=True):
    """How requests wait for a revision that has no replica yet, since it was scaled to zero.

    Attributes:
        requests: that wait at one time, for each revision and gateway process; more are 503.
        bytes: of their bodies; likewise.
        seconds: that one waits; then it is 503, or 504 if the route's or its caller's limit ends before.
    """

    requests: int = defaults.HELD_REQUESTS
    bytes: int = defaults.HELD_BYTES
    seconds: float = defaults.HELD_SECONDS


class Shadow(msgspec.Struct, frozen=True):
    """A revision that gets copies of requests; its answers are compared and thrown away.

    Attributes:
        revision: the name of a target, whose weight is mostly 0.
        percent: of the requests that are copied, 0 to 100.
    """

    revision: str
    percent: float = 100.0


class Route(msgspec.Struct, frozen=True):
    """One component of a service: who asks for it, and which replicas answer.

    Attributes:
        model: the model name that the replicas answer to; clients write it in V1 and V2 paths.
        models: further model names that its replicas answer to: those of TrainedModels.
        hosts: all host names of the component, without port. Case does not matter.
        targets: its revisions. Requests are split among them exactly, by weight.
        ready: whether the component takes requests; with no backend and no `hold` it is not ready whatever this says.
        reason: why it is not ready, in words for the caller of a 503.
        timeout: seconds from the request's arrival to the answer's end, or None for no limit.
        policy: what is done when its replicas fail.
        component: `predictor`, `transformer`, `explainer` or `graph`; routes of one service differ in it.
        entry: it is what the path, the model name and the hosts of the service mean. Another component is reached by
            its own hosts and its port.
        explains: `:explain` requests (V1) of the service, however they name it, go here and not to the entry.
        port: of the loopback interface, on which the gateway takes requests for this route alone, HTTP/1.1 and gRPC by
            prior knowledge, without a token; 0 for none.
        concurrency: requests that one replica may have at a time (`containerConcurrency`); more wait in the gateway. 0
            for no limit.
        hold: how requests wait while there is no replica; None if there is nothing to wait for.
        sticky: `header:NAME` or `cookie:NAME`: requests with the same value go to the same revision for as long as the
            weights allow. A cookie is set where it is absent.
        shadow: what gets copies of the requests.
        graph: the InferenceGraph that answers instead of replicas.
        logging: where requests and answers are logged; None for nowhere.
    """

    namespace: str
    name: str
    model: str
    hosts: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    ready: bool = False
    reason: str = ""
    timeout: float | None = None
    policy: Policy = Policy()
    component: str = "predictor"
    entry: bool = True
    explains: bool = False
    port: int = 0
    concurrency: int = 0
    hold: Hold | None = None
    sticky: str = ""
    shadow: Shadow | None = None
    graph: Plan | None = None
    logging: Logging | None = None
    models: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path prefix that always reaches this service."""
        return f"/serving/{quote(self.namespace, safe='')}/{quote(self.name, safe='')}"

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The replicas of all revisions."""
        return tuple(backend for target in self.targets for backend in target.backends)


class RouteTable(msgspec.Struct, frozen=True):
    """Everything the gateway serves. `version` is the control plane's count of changes; it is shown, not compared."""

    version: int = 0
    routes: tuple[Route, ...] = ()


def not_ready(route: Route) -> str:
    """What the caller of a service without a ready replica is told."""
    return f"Service {route.namespace}/{route.name} is not ready: {route.reason or 'no replica is ready'}"
