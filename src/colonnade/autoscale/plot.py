"""A simulation as a picture: an SVG for people, and lines of blocks for a terminal. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from colonnade.autoscale.simulation import Moment

WIDTH, HEIGHT, GAP = 960, 180, 34
LEFT, RIGHT, TOP = 64, 16, 40
_BLOCKS = " ▁▂▃▄▅▆▇█"
_LOAD, _WANTED, _READY, _PANIC = "#4477aa", "#cc3311", "#228833", "#ddaa33"


def sparkline(values: Sequence[float], width: int) -> str:
    """A line of at most `width` blocks; each shows the greatest of the values that it stands for."""
    if not values:
        return ""
    count = min(width, len(values))
    parts = [values[index * len(values) // count : (index + 1) * len(values) // count] for index in range(count)]
    highest = max(values) or 1.0
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[math.ceil(max(part) * steps / highest * (1 - 1e-12))] for part in parts)


def svg(moments: Sequence[Moment], title: str, unit: str) -> str:
    """Two panels over the same seconds: the load above, replicas wanted and ready below; panics are shaded."""
    seconds = max(1, len(moments))
    height = TOP + 2 * HEIGHT + GAP + 40

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / seconds

    load = max((moment.load for moment in moments), default=0.0) or 1.0
    replicas = float(max((max(moment.wanted, moment.ready) for moment in moments), default=0) or 1)
    upper, lower = TOP + HEIGHT, TOP + 2 * HEIGHT + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        *(
            f'<rect x="{x(began):.1f}" y="{TOP}" width="{x(ended) - x(began):.1f}" height="{2 * HEIGHT + GAP}" '
            f'fill="{_PANIC}" opacity="0.15"/>'
            for began, ended in _panics(moments)
        ),
        *_axis(upper, load, unit),
        *_axis(lower, replicas, "replicas"),
        _line(moments, lambda moment: moment.load, x, upper, load, _LOAD),
        _line(moments, lambda moment: moment.wanted, x, lower, replicas, _WANTED),
        _line(moments, lambda moment: moment.ready, x, lower, replicas, _READY),
    ]
    for index, (name, colour) in enumerate(
        (("load", _LOAD), ("wanted", _WANTED), ("ready", _READY), ("panic", _PANIC))
    ):
        left = WIDTH - RIGHT - 300 + 76 * index
        parts.append(f'<rect x="{left}" y="10" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16}" y="20">{name}</text>')
    for tenth in range(0, 11, 2):
        second = seconds * tenth / 10
        parts.append(f'<text x="{x(second):.1f}" y="{lower + 18}" text-anchor="middle">{second:.0f} s</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panics(moments: Sequence[Moment]) -> list[tuple[int, int]]:
    """The stretches of panic, as (first second, second after the last)."""
    found: list[tuple[int, int]] = []
    for moment in moments:
        if moment.panic and found and found[-1][1] == moment.second:
            found[-1] = (found[-1][0], moment.second + 1)
        elif moment.panic:
            found.append((moment.second, moment.second + 1))
    return found


def _axis(bottom: int, highest: float, name: str) -> list[str]:
    return [
        f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#888"/>',
        f'<line x1="{LEFT}" y1="{bottom - HEIGHT}" x2="{LEFT}" y2="{bottom}" stroke="#888"/>',
        f'<text x="{LEFT - 6}" y="{bottom - HEIGHT + 10}" text-anchor="end">{highest:g}</text>',
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{LEFT + 6}" y="{bottom - HEIGHT + 10}" fill="#555">{escape(name)}</text>',
    ]


def _line(
    moments: Sequence[Moment],
    value: Callable[[Moment], float],
    x: Callable[[float], float],
    bottom: int,
    highest: float,
    colour: str,
) -> str:
    """A line that goes in steps, drawn only where it changes."""
    points: list[str] = []
    last: float | None = None
    for moment in moments:
        now = value(moment)
        if now != last:
            level = bottom - HEIGHT * now / highest
            if last is not None:
                points.append(f"{x(moment.second):.1f},{bottom - HEIGHT * last / highest:.1f}")
            points.append(f"{x(moment.second):.1f},{level:.1f}")
            last = now
    points.append(f"{x(len(moments)):.1f},{bottom - HEIGHT * (last or 0.0) / highest:.1f}")
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
