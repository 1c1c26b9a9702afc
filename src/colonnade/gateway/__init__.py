"""The ingress of the data plane: one process that finds the service a request is for and forwards it to a replica.

It knows routes (host, path or model name to the addresses of ready replicas) and nothing of resources, reconcilers or
models: the control plane pushes a whole `RouteTable`, and the gateway serves its last one for as long as it lives,
also when the control plane is gone. It never reads a tensor. Decisions (`routes.Matcher`, `balance.Balancer`,
`forwarding`, `peek`) are pure; sockets are in `proxy`, `grpc_proxy` and `admin`. Start reading at `routes`, then
`proxy`; `__main__` puts the parts together.
"""
