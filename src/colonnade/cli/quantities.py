"""Amounts of bytes on the command line, as Kubernetes writes them: `50Gi`."""

from __future__ import annotations

from typing import Any

import click

from colonnade.errors import InvalidInput
from colonnade.resources.quantity import parse


class QuantityType(click.ParamType[int]):
    """Turns `50Gi` into bytes."""

    name = "quantity"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes; a number is bytes already."""
        try:
            amount = parse(value)
        except InvalidInput as error:
            self.fail(error.message, param, ctx)
        if amount < 0:
            self.fail(f"{value} must not be less than 0", param, ctx)
        return int(amount)
