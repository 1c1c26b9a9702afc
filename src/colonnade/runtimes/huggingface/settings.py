"""What the flags of KServe's huggingfaceserver say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colonnade.errors import LoadFailed
from colonnade.runtimes.huggingface.tasks import Task, named

_DTYPES = {"auto": "auto", "float32": "float32", "float": "float32", "float16": "float16", "half": "float16"} | {
    "bfloat16": "bfloat16"
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model answers.

    Attributes:
        task: what it is asked to do; None: what its architecture was made for.
        dtype: of its weights.
        max_length: tokens of a text that count; more are cut off. None: as many as the model can take.
        lower_case: texts are written in lower case first, where the tokenizer knows that.
        special_tokens: the tokenizer adds its marks of begin and end.
        probabilities: classes are answered with their probabilities.
        logits: they are answered with the numbers before those.
    """

    task: Task | None = None
    dtype: str = "auto"
    max_length: int | None = None
    lower_case: bool = True
    special_tokens: bool = True
    probabilities: bool = False
    logits: bool = False


def read(flags: Mapping[str, str]) -> Settings:
    """Settings from flags, by their names without hyphens in front.

    Raises:
        LoadFailed: a value is none that the flag takes.
    """
    dtype = flags.get("dtype", "auto")
    if dtype not in _DTYPES:
        raise LoadFailed(f"--dtype is {dtype!r}; use one of {', '.join(_DTYPES)}")
    if flags.get("backend", "auto") not in ("auto", "huggingface"):
        raise LoadFailed(f"--backend is {flags['backend']!r}; this server runs transformers: use auto or huggingface")
    if _on(flags, "return-probabilities") and _on(flags, "return-raw-logits"):
        raise LoadFailed("--return-probabilities and --return-raw-logits exclude each other; give one")
    return Settings(
        named(flags["task"]) if "task" in flags else None,
        _DTYPES[dtype],
        _length(flags.get("max-model-len", flags.get("max-length"))),
        not _on(flags, "disable-lower-case"),
        not _on(flags, "disable-special-tokens"),
        _on(flags, "return-probabilities"),
        _on(flags, "return-raw-logits"),
    )


def _on(flags: Mapping[str, str], name: str) -> bool:
    return flags.get(name, "false") != "false"


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise LoadFailed(f"--max-model-len is {text!r}; give a whole number of 1 or more")
    return int(text)
