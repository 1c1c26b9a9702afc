"""A request's fields to its head: what HTTP/2 demands of them (RFC 9113, section 8). Pure."""

from __future__ import annotations

import re

from colonnade.net.head import Header
from colonnade.net.head_parse import Refusal, RequestHead, expects_continue, join_repeated, split_target
from colonnade.net.limits import Limits

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
# Fields that HTTP/2 has no place for (section 8.2.2): a proxy that let them through could be made to smuggle.
_OF_HTTP1 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")


class Malformed(Exception):
    """The request is none: its stream is reset (section 8.1.1)."""


def request_head(fields: list[Header], ended: bool, limits: Limits) -> RequestHead:
    """The head that a block of fields makes. `ended`: no body follows.

    Raises:
        Malformed: the fields break the protocol.
        Refusal: they are over a limit, or ask for what is not there.
    """
    pseudo: dict[bytes, bytes] = {}
    begin = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in _PSEUDO or name in pseudo:
            raise Malformed("pseudo-header field unknown or twice")
        pseudo[name] = value
        begin += 1
    regular = fields[begin:]
    check_fields(regular)
    method = pseudo.get(b":method", b"")
    target = pseudo.get(b":path", b"")
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target) or b":scheme" not in pseudo:
        raise Malformed("a request has a method, a scheme and a path")
    authority = pseudo.get(b":authority")
    if authority:
        regular = [(b"host", authority), *(field for field in regular if field[0] != b"host")]
        if not _VALUE.fullmatch(authority):
            raise Malformed("the authority holds a character that no field may hold")
    elif not any(name == b"host" for name, _ in regular):
        raise Malformed("neither :authority nor host")
    if len(regular) > limits.header_count:
        raise Refusal(431, f"More than {limits.header_count} header fields.")
    if len(target) > limits.target_bytes:
        raise Refusal(414, f"The request target is longer than {limits.target_bytes} bytes.")
    if len(target) + sum(len(name) + len(value) + 4 for name, value in regular) > limits.header_bytes:
        raise Refusal(431, f"The header fields exceed {limits.header_bytes} bytes.")
    headers = dict(regular)
    if len(headers) != len(regular):
        headers = join_repeated(regular)
    path, query = split_target(method, target)
    length = _length(headers)
    if ended:
        if length:
            raise Malformed("a content-length without a body")
        length = 0
    elif length is not None and length > limits.body_bytes:
        raise Refusal(413, f"The body has {length} bytes; the limit is {limits.body_bytes}.")
    expects = not ended and b"expect" in headers and expects_continue(headers, False)
    return RequestHead(method, target, path, query, headers, regular, True, False, length, expects)


def check_fields(regular: list[Header]) -> None:
    """What holds for header and trailer fields.

    Raises:
        Malformed: a field breaks it.
    """
    for name, value in regular:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or value != value.strip(b" \t"):
            raise Malformed("a field name or value that is not allowed")
        if name in _OF_HTTP1 or (name == b"te" and value != b"trailers"):
            raise Malformed("a field that belongs to HTTP/1.1")


def _length(headers: dict[bytes, bytes]) -> int | None:
    value = headers.get(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise Malformed("content-length must be one decimal number")
    return int(value)
