"""What sends the requests: wrk for HTTP, h2load for gRPC (both C), an open loop of ours for overload."""
