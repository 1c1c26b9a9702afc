"""Kubernetes quantities."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from colonnade.errors import InvalidInput
from colonnade.resources.quantity import parse, shown_bytes, shown_milli


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, "1"),
        (0.1, "0.1"),
        ("500m", "0.5"),
        ("2Gi", "2147483648"),
        ("1.5k", "1500"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1000000000000000000"),
        ("-1", "-1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("10n", "0.00000001"),
    ],
)
def test_quantities(value: Any, number: str) -> None:
    assert parse(value) == Decimal(number)


@pytest.mark.parametrize("value", ["", "lots", "1 Gi", "1gi", "Gi", "--1", "1e", "1e1000", True, "1Mi5", "9" * 100])
def test_what_is_no_quantity(value: Any) -> None:
    with pytest.raises(InvalidInput, match="is no quantity; write a number"):
        parse(value)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1Ki"), (512 << 20, "512Mi"), (3 << 29, "1.5Gi"), (2 << 40, "2Ti")],
)
def test_bytes_are_shown_as_people_write_them(amount: int, text: str) -> None:
    assert shown_bytes(amount) == text


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (250, "250m"), (2000, "2"), (2500, "2500m")])
def test_thousandths_are_shown_as_kubernetes_writes_them(amount: int, text: str) -> None:
    assert shown_milli(amount) == text
