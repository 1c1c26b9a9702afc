"""HTTP/2 (RFC 9113) on the server's ports: many exchanges at once on one connection, with trailers.

It exists because gRPC is spoken over it, and because the libraries that speak it cost five to ten times what a small
inference costs. Frames are read and written by hand, header blocks by `hpack`, each distinct block once. A stream is an
`Exchange`, so an application cannot tell which version of HTTP it answers. Start reading at `frames.py` (what is on the
wire), then `endpoint.py` and `writing.py` (what both ends share), `connection.py` and `stream.py` (the server), and
`upstream.py` (the client).
"""

from colonnade.net.http2.call import Http2Call
from colonnade.net.http2.connection import Http2
from colonnade.net.http2.frames import PREFACE
from colonnade.net.http2.upstream import Http2Upstream

__all__ = ["PREFACE", "Http2", "Http2Call", "Http2Upstream"]
