"""Encoders: texts to classes, tokens or vectors.

A request's texts are padded to the longest and cut at the model's length, as KServe does. Answers have KServe's forms:
the index of the class, `[1, tokens]` indices, the word for the mask, or a vector of length one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from colonnade import defaults
from colonnade.errors import InvalidInput
from colonnade.model.contract import Model
from colonnade.runtimes import tables
from colonnade.runtimes.huggingface.settings import Settings
from colonnade.runtimes.huggingface.tasks import Task
from colonnade.wire.tensors import InferRequest, Tensor, TensorSpec

_EXAMPLES = ("a word", "two words", "and three words", "and then four words")
_OUTPUTS: Mapping[Task, tuple[str, tuple[int, ...]]] = {
    Task.SEQUENCE_CLASSIFICATION: ("INT64", (-1,)),
    Task.TOKEN_CLASSIFICATION: ("INT64", (-1, 1, -1)),
    Task.FILL_MASK: ("BYTES", (-1,)),
}


def listed(array: np.ndarray) -> list[str]:
    """The texts of a BYTES tensor of any shape; KServe's clients send `[]` and `[n]`.

    Raises:
        InvalidInput: it is no text, or none at all.
    """
    if array.dtype.kind != "O":
        raise InvalidInput("The model takes texts and the request has numbers; send BYTES, or strings in V1")
    texts: list[str] = tables.texts(array).reshape(-1).tolist()
    if not texts:
        raise InvalidInput("The request has no text; send one at least")
    return texts


class Encoder(Model):
    """What computes: a tokenizer and a network."""

    platform = "transformers"
    lenient = True

    def __init__(self, name: str, torch: Any, tokenizer: Any, network: Any, task: Task, settings: Settings) -> None:
        super().__init__(name)
        self._torch = torch
        self._tokenizer = tokenizer
        self._network = network
        self._task = task
        self._settings = settings
        self._length = _limit(tokenizer, network.config, settings.max_length)
        self.inputs = [TensorSpec("input-0", "BYTES", (-1,))]
        datatype, shape = _OUTPUTS.get(task, ("FP32", (-1, int(getattr(network.config, "hidden_size", -1)))))
        if settings.probabilities or settings.logits:
            labels = int(getattr(network.config, "num_labels", -1))
            datatype, shape = "FP32", (-1, labels) if task is Task.SEQUENCE_CLASSIFICATION else (-1, -1, labels)
        self.outputs = [TensorSpec("output-0", datatype, shape)]
        if task is not Task.TOKEN_CLASSIFICATION:  # whose answers are as wide as the longest text of a call
            self.max_batch_size = defaults.MAX_BATCH_SIZE

    def example(self) -> InferRequest:
        """A few short texts."""
        mask = f" {self._tokenizer.mask_token}" if self._task is Task.FILL_MASK else ""
        texts = np.array([f"{text}{mask}".encode() for text in _EXAMPLES], dtype=np.object_)
        return InferRequest(self.name, [Tensor.of("input-0", texts)])

    def _encoded(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(
            list(texts),
            max_length=self._length,
            add_special_tokens=self._settings.special_tokens,
            return_tensors="pt",
            padding=True,
            truncation=True,
        )

    def _run(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """The encoded texts, and the network's last tensor for them in single precision."""
        encoded = self._encoded(texts)
        with self._torch.inference_mode():
            answer = self._network(**encoded, return_dict=True)
            found = answer.last_hidden_state if self._task is Task.TEXT_EMBEDDING else answer.logits
            return encoded, found.float()


class TextModel(Encoder):
    """Answers with the most likely class, token or word, or with a vector; requests may share a call."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """One answer for each text.

        Raises:
            InvalidInput: the request holds no texts, or one without the mask that is to be filled.
        """
        texts = listed(x)
        encoded, found = self._run(texts)
        if self._task is Task.FILL_MASK:
            words = [self._tokenizer.decode(row.argmax(-1)) for row in self._masked(encoded, found)]
            return np.array([word.encode() for word in words], dtype=np.object_)
        if self._task is Task.TEXT_EMBEDDING:
            found = self._pooled(encoded, found)
        elif self._task is Task.TOKEN_CLASSIFICATION:
            found = found.argmax(-1).unsqueeze(1)
        else:
            found = found.argmax(-1)
        answer: np.ndarray = found.numpy()
        return answer

    def _masked(self, encoded: Any, found: Any) -> list[Any]:
        """The rows of each text's masks."""
        places = encoded["input_ids"] == self._tokenizer.mask_token_id
        for position, place in enumerate(places):
            if not bool(place.any()):
                mask = self._tokenizer.mask_token
                raise InvalidInput(f"text {position} holds no {mask}; put it where a word is wanted")
        return [row[place] for row, place in zip(found, places, strict=True)]

    def _pooled(self, encoded: Any, found: Any) -> Any:
        """The mean over a text's tokens, of length one."""
        mask = encoded["attention_mask"].unsqueeze(-1).to(found.dtype)
        mean = (found * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return self._torch.nn.functional.normalize(mean, p=2, dim=1)


class ScoredModel(Encoder):
    """Answers with the probabilities of all classes, or the numbers before those: as an object by class in V1, as one
    FP32 tensor in V2."""

    def predict(self, payload: Any) -> Any:
        """One row of numbers for each text, or for each of its tokens.

        Raises:
            InvalidInput: the request holds no texts.
        """
        _, found = self._run(texts_of(payload))
        scores: np.ndarray = (found if self._settings.logits else self._torch.softmax(found, -1)).numpy()
        if isinstance(payload, InferRequest):
            return scores
        rounded = scores if self._settings.logits else scores.round(4)
        return {"predictions": _by_class(rounded)}


def texts_of(payload: Any) -> list[str]:
    """The texts of a V1 or V2 request.

    Raises:
        InvalidInput: it has none.
    """
    if isinstance(payload, InferRequest):
        if len(payload.inputs) != 1:
            raise InvalidInput(f"The model takes one input of texts and got {len(payload.inputs)}")
        return listed(payload.inputs[0].data)
    values = payload.get("inputs", payload.get("instances")) if isinstance(payload, dict) else None
    if not isinstance(values, list) or not values or not all(isinstance(text, str) for text in values):
        raise InvalidInput('The request has no list of texts; send {"instances": ["...", "..."]}')
    return values


def _by_class(scores: np.ndarray) -> Any:
    if scores.ndim == 1:
        return {str(index): score for index, score in enumerate(scores)}
    return [_by_class(row) for row in scores]


def _limit(tokenizer: Any, config: Any, wanted: int | None) -> int:
    """The most tokens of a text: what was asked for, but no more than the model has places for."""
    known = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    known.append(tokenizer.model_max_length)
    most = min(size for size in known if isinstance(size, int) and size > 0)
    return most if wanted is None else min(wanted, most)
