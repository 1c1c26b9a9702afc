"""The frames of the multiplexed socket. Pure.

A connection begins with `PREFACE`, sent by the client. After that both sides send frames: 12 bytes, and what those
announce. Integers are big-endian.

| bytes | what |
|---|---|
| 4 | length of the rest |
| 4 | stream: the number of a request, chosen by the client, rising |
| 1 | kind |
| 1 | length of the `x-request-id` that the rest begins with; 0 without one |
| 2 | number of a head that a HEAD frame of this side has defined |

| kind | from | the rest |
|---|---|---|
| REQUEST | client | the whole body |
| OPEN | client | announced length of the body (8 bytes, `UNKNOWN` if none); BODY and END follow |
| ANSWER | server | the whole body |
| BEGIN | server | like OPEN, for an answer |
| BODY | both | a part of a body; uses up credit |
| END | both | trailer fields of that body; nothing if there are none |
| CANCEL | both | the client does not wait any more; the server breaks off its answer |
| CREDIT | both | 4 bytes: so many bytes more of the other side's body may come |
| HEAD | both | a head (see `heads`); may replace an older one of the same number |
| GOODBYE | server | streams beyond those that are under way belong on another connection |
| MAPPING | client | 4 bytes: the descriptor of memory to be shared (see `mapping`) |
| MAPPED | server | it is shared from now on; a server that cannot open it says nothing |
| REQUEST_AT | client | where the whole body begins in that memory, and its length (4 bytes each) |
| ANSWER_AT | server | the same for an answer |
| RELEASE | both | 4 bytes: the body of the other side that begins there may be overwritten |
"""

from __future__ import annotations

import struct

from colonnade import defaults

PREFACE = b"\0colonnade-mux/1\r\n"  # no HTTP request and no TLS handshake begins with NUL

HEADER = struct.Struct(">IIBBH")
LENGTH = struct.Struct(">q")
COUNT = struct.Struct(">I")
PLACE = struct.Struct(">II")

REQUEST = 1
OPEN = 2
ANSWER = 3
BEGIN = 4
BODY = 5
END = 6
CANCEL = 7
CREDIT = 8
HEAD = 9
GOODBYE = 10
MAPPING = 11
MAPPED = 12
REQUEST_AT = 13
ANSWER_AT = 14
RELEASE = 15

UNKNOWN = -1  # a body of a length that nobody has announced
WHOLE = 64 << 10  # a body up to here travels in one REQUEST or ANSWER
PART = 64 << 10  # of a larger one, in one BODY
WINDOW = 256 << 10  # credit that each body begins with
MAX_FRAME = 256 << 10  # a longer one is a fault of the peer
SLOT = defaults.MUX_SLOT
SLOTS = defaults.MUX_SLOTS
MAX_STREAM = 0xFFFFFFFF
MAX_ID = 255  # bytes of an `x-request-id` that travels apart from its head
MAX_STREAMS = defaults.MAX_MUX_STREAMS


class Malformed(Exception):
    """The peer does not speak this protocol."""


def frame(kind: int, stream: int, rest: bytes = b"", head: int = 0) -> bytes:
    """One frame without an id."""
    return HEADER.pack(len(rest), stream, kind, 0, head) + rest


def pack_texts(texts: list[bytes]) -> bytes:
    """Byte strings one after the other, each behind its length."""
    return b"".join([part for text in texts for part in (COUNT.pack(len(text)), text)])


def unpack_texts(data: bytes) -> list[bytes]:
    """What `pack_texts` made.

    Raises:
        Malformed: the lengths do not add up.
    """
    texts = []
    at, end = 0, len(data)
    while at < end:
        if end - at < COUNT.size:
            raise Malformed("a list of texts ends within a length")
        stop = at + COUNT.size + COUNT.unpack_from(data, at)[0]
        if stop > end:
            raise Malformed("a list of texts ends within a text")
        texts.append(data[at + COUNT.size : stop])
        at = stop
    return texts
