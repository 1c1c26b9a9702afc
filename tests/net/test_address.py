"""Spelling of addresses."""

from __future__ import annotations

import pytest

from colonnade.errors import InvalidInput
from colonnade.net import Address


@pytest.mark.parametrize(
    ("text", "address", "authority"),
    [
        ("unix:/run/a.sock", Address(path="/run/a.sock"), b"localhost"),
        ("127.0.0.1:80", Address("127.0.0.1", 80), b"127.0.0.1:80"),
        ("[::1]:8080", Address("::1", 8080), b"[::1]:8080"),
        ("replica.local:1", Address("replica.local", 1), b"replica.local:1"),
    ],
)
def test_addresses_are_read_and_written(text: str, address: Address, authority: bytes) -> None:
    assert Address.parse(text) == address
    assert str(address) == text
    assert address.authority == authority


@pytest.mark.parametrize("text", ["", "unix:", "host", "host:", ":80", "host:x", "host:99999", "host:-1"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="Address"):
        Address.parse(text)
