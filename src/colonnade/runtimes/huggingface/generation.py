"""Text generation: a prompt in, a text out, for decoders (the continuation) and for encoder-decoders (the answer).

What is generated and how is said by the request's `parameters`, in V1 as a key beside `instances`: `max_new_tokens`,
`temperature`, `top_p`, `top_k`, `seed`. Without a temperature the most likely token is taken each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from colonnade.errors import InvalidInput
from colonnade.model.contract import Model
from colonnade.runtimes.huggingface.settings import Settings
from colonnade.runtimes.huggingface.tasks import Task
from colonnade.runtimes.huggingface.texts import texts_of
from colonnade.wire.tensors import InferRequest, TensorSpec

_TOKENS = 16  # as OpenAI's completions
_TRANSPORT = ("content_type", "binary_data_output", "headers")  # say how a request is sent, not how to generate


class GenerativeModel(Model):
    """A decoder, or an encoder and a decoder."""

    platform = "transformers"
    lenient = True

    def __init__(self, name: str, torch: Any, tokenizer: Any, network: Any, task: Task, settings: Settings) -> None:
        super().__init__(name)
        self._torch = torch
        self._tokenizer = tokenizer
        self._network = network
        self._continues = task is Task.TEXT_GENERATION
        places = [getattr(network.config, key, None) for key in ("max_position_embeddings", "n_positions")]
        known = [size for size in (*places, settings.max_length) if isinstance(size, int) and size > 0]
        self._places = min(known, default=None)  # tokens of prompt and answer together; None: no limit
        self._special_tokens = settings.special_tokens
        if self._continues:
            tokenizer.padding_side = "left"  # the answer begins where the prompt ends
        self.inputs = [TensorSpec("input-0", "BYTES", (-1,))]
        self.outputs = [TensorSpec("output-0", "BYTES", (-1,))]

    def predict(self, payload: Any) -> Any:
        """One text for each prompt.

        Raises:
            InvalidInput: there is no prompt, a parameter is wrong, or prompt and answer do not fit the model.
        """
        prompts = texts_of(payload)
        given = (payload.parameters if isinstance(payload, InferRequest) else payload.get("parameters")) or {}
        options = _options(given)
        encoded = self._tokenizer(
            prompts, return_tensors="pt", padding=len(prompts) > 1, add_special_tokens=self._special_tokens
        )
        length = int(encoded["input_ids"].shape[1])
        needed = length + (options["max_new_tokens"] if self._continues else 0)
        if self._places is not None and needed > self._places:
            raise InvalidInput(
                f"the prompt has {length} tokens and max_new_tokens is {options['max_new_tokens']}, and the model has "
                f"{self._places} places; shorten one of them"
            )
        seed = options.pop("seed")
        with self._torch.inference_mode(), self._torch.random.fork_rng(devices=[]):
            if seed is not None:
                self._torch.manual_seed(seed)
            kept = {key: encoded[key] for key in ("input_ids", "attention_mask")}
            tokens = self._network.generate(**kept, **options, pad_token_id=self._tokenizer.pad_token_id)
        answers = tokens[:, length:] if self._continues else tokens
        texts = self._tokenizer.batch_decode(answers, skip_special_tokens=True)
        if isinstance(payload, InferRequest):
            return np.array([text.encode() for text in texts], dtype=np.object_)
        return {"predictions": texts}


def _options(given: Any) -> dict[str, Any]:
    """The options of `generate`, checked.

    Raises:
        InvalidInput: a parameter is unknown or out of its range; names it.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput('"parameters" must be an object, such as {"max_new_tokens": 32}')
    known = {"max_new_tokens", "temperature", "top_p", "top_k", "seed"}
    for name in given:
        if name not in known and name not in _TRANSPORT:
            raise InvalidInput(f'"parameters" has {name!r}; known are {", ".join(sorted(known))}')
    temperature = _number(given, "temperature", 0.0, 0.0, 100.0)
    options: dict[str, Any] = {
        "max_new_tokens": int(_number(given, "max_new_tokens", _TOKENS, 1, 1 << 20, whole=True)),
        "do_sample": temperature > 0,
        "seed": int(_number(given, "seed", 0, 0, (1 << 63) - 1, whole=True)) if "seed" in given else None,
    }
    if temperature > 0:
        options["temperature"] = temperature
        options["top_p"] = _number(given, "top_p", 1.0, 1e-6, 1.0)
        options["top_k"] = int(_number(given, "top_k", 50, 0, 1 << 20, whole=True))
    return options


def _number(
    given: Mapping[str, Any], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    value = given.get(name, default)
    right = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not right or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise InvalidInput(f'"parameters.{name}" is {value!r}; give {kind} from {low:g} to {high:g}')
    return float(value) if not whole else value
