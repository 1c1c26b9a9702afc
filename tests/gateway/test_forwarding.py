"""What a message loses and gains on its way, field by field."""

from __future__ import annotations

import pytest

from colonnade.gateway.forwarding import Header, may_repeat, request_headers, response_headers


def forwarded(*raw: Header, client: bytes = b"10.0.0.9", hide: bool = False) -> dict[bytes, bytes]:
    sent = request_headers(raw, dict(raw), client=client, scheme=b"http", hide_authorization=hide)
    assert len({name for name, _ in sent}) == len(sent), "a field was doubled"
    return dict(sent)


def test_plain_request_keeps_its_fields_and_gains_the_gateways() -> None:
    assert forwarded((b"host", b"a.example.com"), (b"accept", b"*/*"), (b"content-length", b"4")) == {
        b"host": b"a.example.com",
        b"accept": b"*/*",
        b"x-forwarded-for": b"10.0.0.9",
        b"x-forwarded-host": b"a.example.com",
        b"x-forwarded-proto": b"http",
    }


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
        b"proxy-connection",
        b"proxy-authenticate",
        b"expect",
    ],
)
def test_fields_of_one_hop_go(name: bytes) -> None:
    assert name not in forwarded((b"host", b"a"), (name, b"x"))


def test_fields_listed_by_connection_go() -> None:
    sent = forwarded(
        (b"host", b"a"), (b"connection", b"keep-alive, X-Secret , close"), (b"x-secret", b"1"), (b"x-b", b"2")
    )
    assert b"x-secret" not in sent
    assert sent[b"x-b"] == b"2"


def test_forwarded_for_grows_and_the_first_proxys_word_stays() -> None:
    sent = forwarded(
        (b"host", b"inner"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"x-forwarded-host", b"outer"),
        (b"x-forwarded-proto", b"https"),
    )
    assert sent[b"x-forwarded-for"] == b"1.2.3.4, 10.0.0.9"
    assert sent[b"x-forwarded-host"] == b"outer"
    assert sent[b"x-forwarded-proto"] == b"https"


def test_client_without_address() -> None:
    assert b"x-forwarded-for" not in forwarded((b"host", b"a"), client=b"")


def test_own_credential_stays_here() -> None:
    assert b"authorization" not in forwarded((b"authorization", b"Bearer x"), hide=True)
    assert forwarded((b"authorization", b"Bearer x"))[b"authorization"] == b"Bearer x"


def test_response_fields() -> None:
    raw = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"12"),
        (b"connection", b"x-hop"),
        (b"x-hop", b"1"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"inference-header-content-length", b"7"),
    ]
    kept, content_type, length = response_headers(raw)
    assert kept == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"inference-header-content-length", b"7")]
    assert (content_type, length) == (b"text/plain", 12)
    assert response_headers([]) == ([], None, None)


@pytest.mark.parametrize("values", [[b"-1"], [b"x"], [b"1", b"2"], [b""]])
def test_bad_length(values: list[bytes]) -> None:
    with pytest.raises(ValueError, match="content-length"):
        response_headers([(b"content-length", value) for value in values])


@pytest.mark.parametrize(
    ("method", "sent", "allowed"),
    [
        (b"GET", True, True),
        (b"PUT", True, True),
        (b"POST", True, False),
        (b"PATCH", True, False),
        (b"POST", False, True),
        (b"BREW", True, False),
    ],
)
def test_repeat(method: bytes, sent: bool, allowed: bool) -> None:
    assert may_repeat(method, sent) is allowed
