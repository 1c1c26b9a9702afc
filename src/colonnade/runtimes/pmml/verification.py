"""ModelVerification: records with known answers that a document may carry, held against what is computed here.

This is the document's own proof that its exporter and this evaluator mean the same, so a difference ends the loading.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.runtimes.pmml.document import attribute, child, number
from colonnade.runtimes.pmml.fields import names
from colonnade.runtimes.pmml.models import Compiled
from colonnade.runtimes.pmml.values import Value, as_number, text

_PRECISION, _ZERO = 1e-6, 1e-16  # what the specification takes where the document says nothing


def verify(compiled: Compiled, element: Element) -> None:
    """Evaluates each record.

    Raises:
        LoadFailed: one comes out otherwise; names the record, the field and both values.
    """
    found = element.find("ModelVerification")
    if found is None:
        return
    fields = child(found, "VerificationFields").findall("VerificationField")
    columns = {(each.get("column") or attribute(each, "field")).rpartition(":")[2]: each for each in fields}
    inputs = set(names(compiled.schema.inputs))
    for position, record in enumerate(child(found, "InlineTable").findall("row"), 1):
        cells = {cell.tag: cell.text or "" for cell in record}
        sent: dict[str, Any] = {}
        expected: dict[str, str] = {}
        for column, field in columns.items():
            if column in cells:
                name = attribute(field, "field")
                (sent if name in inputs else expected)[name] = cells[column]
        try:
            result = compiled.evaluate(sent)
        except InvalidInput as error:
            raise LoadFailed(f"PMML: the document's own record {position} is refused: {error.message}") from error
        answers = {compiled.target.name: result.score.value, **result.outputs}
        for field in fields:
            name = attribute(field, "field")
            if name in expected and name in answers and not _agree(answers[name], expected[name], field):
                raise LoadFailed(
                    f"PMML: the document's own record {position} expects {name} = {expected[name]!r}, and it comes out "
                    f"as {answers[name]!r}; export the model again, or serve it with another runtime"
                )


def _agree(value: Value, expected: str, field: Element) -> bool:
    wanted, found = as_number(expected), as_number(value)
    if wanted is None or found is None or isinstance(value, str):
        return text(value) == expected
    if abs(wanted) <= number(field, "zeroThreshold", _ZERO):
        return abs(found) <= number(field, "zeroThreshold", _ZERO)
    return abs(found - wanted) <= abs(wanted) * number(field, "precision", _PRECISION)
