"""Kubernetes quantities: `500m`, `2Gi`, `1e3`. Grammar: Kubernetes API reference, `resource.Quantity`."""

from __future__ import annotations

import re
from decimal import Decimal

from colonnade.errors import InvalidInput

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))([eE][+-]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE]?)"
)

_SCALE: dict[str, Decimal] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    **{f"{unit}i": Decimal(1024**power) for power, unit in enumerate("KMGTPE", 1)},
}


def parse(value: str | int | float) -> Decimal:
    """The number that a quantity stands for, in base units (cores, bytes, devices).

    Raises:
        InvalidInput: the value does not follow Kubernetes' grammar.
    """
    match = None if isinstance(value, bool) else _QUANTITY.fullmatch(str(value))
    if match is None:
        raise InvalidInput(
            f"{str(value)[:40]!r} is no quantity; write a number with a suffix such as m, k, M, Ki, Mi, Gi: '2Gi'"
        )
    number, suffix = match.groups()
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return Decimal(number + suffix)
    return Decimal(number) * _SCALE[suffix]


def shown_bytes(amount: int) -> str:
    """Bytes as people write them: `512Mi`, `1.5Gi`. Rounded to a tenth of the unit."""
    for power, unit in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        scaled = amount / 1024**power
        if scaled >= 1:
            return f"{round(scaled, 1):g}{unit}"
    return str(amount)


def shown_milli(amount: int) -> str:
    """Thousandths of a core or a device as Kubernetes writes them: `2`, `500m`."""
    return str(amount // 1000) if amount % 1000 == 0 else f"{amount}m"
