"""What every kind of model gives for a row, and what it is compiled from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from xml.etree.ElementTree import Element

from colonnade.runtimes.pmml.expressions import Defined
from colonnade.runtimes.pmml.fields import DataField
from colonnade.runtimes.pmml.values import Expression, Row, Value


@dataclass(slots=True)
class Score:
    """A prediction.

    Attributes:
        value: what is predicted; None: the model has no answer for this row.
        probabilities: by category.
        confidences: by category, where they are not the probabilities.
        entity: the node, cluster or neuron that decided.
        affinities: by entity: distance or similarity.
        outputs: output fields of the inner models that decided, which count as the outer model's own.
    """

    value: Value
    probabilities: Mapping[str, float] = field(default_factory=dict)
    confidences: Mapping[str, float] = field(default_factory=dict)
    entity: str | None = None
    affinities: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, Value] = field(default_factory=dict)


Scorer = Callable[[Row], Score]
NOTHING = Score(None)


class Result(NamedTuple):
    """A score and the values of the model's output fields."""

    score: Score
    outputs: dict[str, Value]


class Inner(Protocol):
    """A model inside another one."""

    @property
    def outputs(self) -> Mapping[str, DataField]:
        """Its output fields, for the models after it."""
        ...

    def within(self, row: Row) -> Result:
        """Evaluates it on the outer model's fields."""
        ...


class Context(NamedTuple):
    """Where a model stands.

    Attributes:
        function: `classification`, `regression`, `clustering`.
        fields: what its predicates and expressions can name.
        derived: derived fields that can be seen, and how they are computed.
        defined: the document's own functions.
        nested: compiles a model inside this one, which sees these fields too.
    """

    function: str
    fields: Mapping[str, DataField]
    derived: Mapping[str, Expression]
    defined: Defined
    nested: Callable[[Element, Context], Inner]


def best(probabilities: Mapping[str, float]) -> str | None:
    """The category of the highest probability, the first of equals."""
    return max(probabilities, key=lambda category: probabilities[category], default=None)
