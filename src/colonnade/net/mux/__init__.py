"""Many requests on one Unix socket: how a gateway speaks to the replicas of this product.

HTTP/1.1 costs a gateway a connection per request in flight, and each of them its own system calls. Here all requests
to a replica share one connection. Whatever a turn of the event loop has to say leaves in one write, and a replica takes
all requests of one read before it answers any, so that they can form a batch. Heads travel once and are named by a
number after that.

What it keeps of HTTP: the same exchanges at the one end and the same receivers at the other, streamed bodies both
ways, trailers, back-pressure per request, and a failure that says whether the peer may have seen the request. It speaks
HTTP's meaning and none of its text, and knows no route and no model. Start reading at `frames.py` (what is said), then
`link.py` (both ends), `server.py` with `exchange.py` (the replica's end), `upstream.py` with `call.py` (the gateway's).
"""

from colonnade.net.mux.call import MuxCall
from colonnade.net.mux.frames import PREFACE
from colonnade.net.mux.heads import AnswerHead
from colonnade.net.mux.server import MuxConnection
from colonnade.net.mux.upstream import MuxUpstream

__all__ = ["PREFACE", "AnswerHead", "MuxCall", "MuxConnection", "MuxUpstream"]
