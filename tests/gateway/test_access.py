"""The rule of the bearer token."""

from __future__ import annotations

import pytest

from colonnade.gateway.access import Access


@pytest.mark.parametrize(
    ("authorization", "admitted"),
    [
        (b"Bearer token", True),
        (b"bearer  token ", True),
        (b"Bearer Token", False),
        (b"Bearer", False),
        (b"Bearer ", False),
        (b"Basic token", False),
        (b"token", False),
        (b"Bearer token2", False),
        (b"\xff\xfe", False),
        (b"", False),
        (None, False),
    ],
)
def test_required(authorization: bytes | None, admitted: bool) -> None:
    assert Access("token", required=True).admits(authorization) is admitted
    assert Access("token").is_own(authorization) is admitted
    assert Access("token").admits(authorization)


def test_without_a_token() -> None:
    assert Access().admits(None)
    assert not Access().is_own(b"Bearer ")
    assert not Access(required=True).admits(b"Bearer ")
