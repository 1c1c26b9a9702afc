"""The ingress of the data plane: one process that finds the service a request is for and forwards it to a replica.

It knows routes (host, path or model name to the addresses of ready replicas) and nothing of resources, reconcilers or
models: the control plane pushes a whole `RouteTable`, and the gateway serves its last one for as long as it lives,
also when the control plane is gone. It reads no tensor on a request's way. Decisions (`matching.Matcher`,
`split.Split`, `sticky`, `balance.Balancer`, `guard.Guard`, `forwarding`, `peek`) are pure; sockets are in `proxy`,
`grpc_proxy` and `admin`. A route is live as a `service.Service`, its targets as `revision.Revision`s, of which each has
a guard, a queue and `replica.Replica`s. Start reading at `routes`, then `proxy`; `process` puts the parts together.
"""
