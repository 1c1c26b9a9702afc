"""Amounts on the command line, as Kubernetes writes them: `50Gi`, `500m`."""

from __future__ import annotations

from typing import Any

import click

from colonnade.errors import InvalidInput
from colonnade.resources.quantity import parse


class QuantityType(click.ParamType[int]):
    """Turns `50Gi` into bytes, or an amount of something else into so many parts of it."""

    name = "quantity"

    def __init__(self, parts: int = 1) -> None:
        """`parts` of one are counted: 1000 for thousandths of a core."""
        self._parts = parts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of parts; an int is that already."""
        if isinstance(value, int):
            return value
        try:
            amount = parse(value)
        except InvalidInput as error:
            self.fail(error.message, param, ctx)
        if amount < 0:
            self.fail(f"{value} must not be less than 0", param, ctx)
        return int(amount * self._parts)
