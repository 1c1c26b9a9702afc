"""Rows on which a graph is held against the original: seeded, so that a report can be repeated. Pure.

Random rows alone say little about trees, whose answers change at thresholds and nowhere else, and about labels, which
change at a border that random rows do not meet. So the rows lie where a conversion goes wrong: on thresholds and the
numbers next to them, close to borders between labels, and far outside of what a model has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

_ROWS = 1024  # of each kind
_PAIRS = 64  # pairs of rows between which a border is looked for
_CLOSE = {np.dtype("f2"): 0.02, np.dtype("f4"): 1e-5, np.dtype("f8"): 1e-9}
"""How near to a border rows are put, as a share of the way between the two rows: some hundred roundings of the type,
since a sum that is taken in another order may move a border by a few."""


@dataclass(frozen=True)
class Domain:
    """Where a model's inputs lie, as far as the model itself tells.

    Attributes:
        centre: shape (features,).
        scale: the same.
        thresholds: numbers at which trees part, by feature.
    """

    centre: np.ndarray
    scale: np.ndarray
    thresholds: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """The number of features."""
        return len(self.centre)


def generated(domain: Domain, dtype: np.dtype) -> Iterator[tuple[str, np.ndarray]]:
    """Kinds of rows by name, each a matrix (rows, features) of the type."""
    random = np.random.default_rng(20_000 + domain.width)
    shape = (_ROWS, domain.width)
    normal = domain.centre + domain.scale * random.standard_normal(shape)
    yield "normal", _cast(normal, dtype)
    yield "uniform", _cast(domain.centre + domain.scale * random.uniform(-6, 6, shape), dtype)
    if dtype.kind != "b":
        magnitudes = 10.0 ** random.uniform(-6, 6, shape) * random.choice([-1.0, 1.0], shape)
        yield "wide", _cast(magnitudes, dtype)
    if domain.thresholds:
        yield "thresholds", _at_thresholds(domain, _cast(normal, dtype), random)


def borders(labels: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Rows on both sides of borders between labels, found by halving the way between rows of different labels.

    Args:
        labels: of a matrix of rows, shape (rows,).
        rows: where to look, of a float type.
    """
    found = labels(rows)
    partner = np.array([next((j for j in range(i + 1, len(rows)) if found[j] != found[i]), -1) for i in range(_PAIRS)])
    first = np.flatnonzero(partner >= 0)
    if not len(first):
        return rows[:0]
    start, way = rows[first].astype(np.float64), rows[partner[first]].astype(np.float64) - rows[first]
    low, high = np.zeros((len(first), 1)), np.ones((len(first), 1))
    close = _CLOSE[rows.dtype]
    while float(np.max(high - low)) > close / 4:
        middle = (low + high) / 2
        same = (labels((start + middle * way).astype(rows.dtype)) == found[first])[:, None]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    beside = np.concatenate([np.maximum(low - close, 0.0), np.minimum(high + close, 1.0)])
    both = np.concatenate([start, start]) + beside * np.concatenate([way, way])
    nearby: np.ndarray = both.astype(rows.dtype)
    return nearby


def odd(domain: Domain, dtype: np.dtype) -> list[np.ndarray]:
    """Single rows, shape (1, features), that frameworks treat in ways of their own: missing, infinite, very large."""
    if dtype.kind == "b":
        return []
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = [float(limits.min), float(limits.max) / 2]
    else:
        largest = float(np.finfo(dtype).max)
        values = [np.nan, np.inf, -np.inf, largest, -largest, float(np.sqrt(largest)), float(np.finfo(dtype).tiny)]
    rows = []
    for value in values:
        for feature in range(min(domain.width, 16)):
            row = _cast(domain.centre, dtype).reshape(1, -1)
            row[0, feature] = value
            rows.append(row)
        rows.append(np.full((1, domain.width), value).astype(dtype))
    return rows


def _at_thresholds(domain: Domain, base: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows with one feature on a threshold, or on the next number of the type on either side."""
    pairs = [(feature, value) for feature, values in sorted(domain.thresholds.items()) for value in np.unique(values)]
    if len(pairs) > _ROWS:
        pairs = [pairs[index] for index in sorted(random.choice(len(pairs), _ROWS, replace=False))]
    rows = np.repeat(base, 3 * len(pairs) // len(base) + 1, axis=0)[: 3 * len(pairs)].copy()
    for index, (feature, value) in enumerate(pairs):
        on = _cast(np.array(value), rows.dtype)
        if rows.dtype.kind == "f":
            low, high = np.nextafter(on, on.dtype.type(-np.inf)), np.nextafter(on, on.dtype.type(np.inf))
        elif rows.dtype.kind == "b":
            low, high = np.False_, np.True_
        else:
            low, high = _cast(np.array(value) - 1, rows.dtype), _cast(np.array(value) + 1, rows.dtype)
        rows[3 * index : 3 * index + 3, feature] = low, on, high
    return rows


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "b":
        above: np.ndarray = values > np.median(values)
        return above
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), float(limits.min), float(limits.max) / 2)
    if dtype.kind == "f":
        values = np.clip(values, float(np.finfo(dtype).min), float(np.finfo(dtype).max))
    made: np.ndarray = values.astype(dtype)
    return made
