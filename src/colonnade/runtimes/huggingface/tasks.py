"""The tasks that are served, and which one a model was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from colonnade.errors import LoadFailed


class Task(StrEnum):
    """A task, by KServe's name."""

    SEQUENCE_CLASSIFICATION = "sequence_classification"
    TOKEN_CLASSIFICATION = "token_classification"  # noqa: S105 (no password)
    FILL_MASK = "fill_mask"
    TEXT_EMBEDDING = "text_embedding"
    TEXT_GENERATION = "text_generation"
    TEXT2TEXT_GENERATION = "text2text_generation"
    IMAGE_CLASSIFICATION = "image_classification"


LOADERS: Mapping[Task, str] = {
    Task.SEQUENCE_CLASSIFICATION: "AutoModelForSequenceClassification",
    Task.TOKEN_CLASSIFICATION: "AutoModelForTokenClassification",
    Task.FILL_MASK: "AutoModelForMaskedLM",
    Task.TEXT_EMBEDDING: "AutoModel",
    Task.TEXT_GENERATION: "AutoModelForCausalLM",
    Task.TEXT2TEXT_GENERATION: "AutoModelForSeq2SeqLM",
    Task.IMAGE_CLASSIFICATION: "AutoModelForImageClassification",
}
"""The class of transformers that loads a model for a task."""

_OTHER_NAMES = {  # as the hub calls them
    "text-classification": Task.SEQUENCE_CLASSIFICATION,
    "feature-extraction": Task.TEXT_EMBEDDING,
    "sentence-similarity": Task.TEXT_EMBEDDING,
}
_BY_ENDING = {
    "ForSequenceClassification": Task.SEQUENCE_CLASSIFICATION,
    "ForTokenClassification": Task.TOKEN_CLASSIFICATION,
    "ForMaskedLM": Task.FILL_MASK,
    "ForCausalLM": Task.TEXT_GENERATION,
    "LMHeadModel": Task.TEXT_GENERATION,
    "ForConditionalGeneration": Task.TEXT2TEXT_GENERATION,
    "MTModel": Task.TEXT2TEXT_GENERATION,
    "EncoderDecoderModel": Task.TEXT2TEXT_GENERATION,
    "ForImageClassification": Task.IMAGE_CLASSIFICATION,
    "Model": Task.TEXT_EMBEDDING,  # a bare encoder; stands last
}


def named(text: str) -> Task:
    """The task of a name, KServe's or the hub's.

    Raises:
        LoadFailed: there is none; lists those there are.
    """
    given = text.strip().lower()
    try:
        return _OTHER_NAMES.get(given) or Task(given.replace("-", "_"))
    except ValueError:
        raise LoadFailed(f"--task is {text!r}; use one of {', '.join(Task)}") from None


def of_architecture(architectures: Sequence[str]) -> Task:
    """The task that a model's architecture was made for.

    Raises:
        LoadFailed: its configuration names none, or one that is not served.
    """
    for architecture in architectures:
        for ending, task in _BY_ENDING.items():
            if architecture.endswith(ending):
                return task
    listed = ", ".join(architectures) or "none"
    raise LoadFailed(
        f"config.json names the architecture {listed}, from which no task follows; give --task: {', '.join(Task)}"
    )
