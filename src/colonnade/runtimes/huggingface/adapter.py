"""The adapter: which task, and what loads it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from colonnade.errors import LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes.base import LoadOptions, framework, threads
from colonnade.runtimes.huggingface.generation import GenerativeModel
from colonnade.runtimes.huggingface.images import ImageModel
from colonnade.runtimes.huggingface.settings import Settings, read
from colonnade.runtimes.huggingface.tasks import LOADERS, Task, of_architecture
from colonnade.runtimes.huggingface.texts import ScoredModel, TextModel

_log = logging.getLogger(__name__)

_CONFIG = "config.json"
_SCORED = (Task.SEQUENCE_CLASSIFICATION, Task.TOKEN_CLASSIFICATION)
_GENERATIVE = (Task.TEXT_GENERATION, Task.TEXT2TEXT_GENERATION)


class HuggingFaceRuntime:
    """Loads models of transformers."""

    name = "huggingface"
    formats = ("huggingface",)
    suffixes = (".safetensors", ".bin")

    def load(self, name: str, path: Path, options: LoadOptions) -> Model:
        """Load the model in the folder `path`; predictions use `OMP_NUM_THREADS` threads, else one.

        Weights that are pickles are read as tensors and nothing else; code that the folder holds runs with consent.

        Raises:
            LoadFailed: see `base.Runtime.load`; or no task follows from it.
        """
        folder = path if path.is_dir() else path.parent
        if not (folder / _CONFIG).is_file():
            raise LoadFailed(f"{folder} holds no {_CONFIG}; save model and tokenizer with save_pretrained(folder)")
        settings = read(options.settings)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all that is needed lies in the folder, or loading fails now
        torch = framework("torch", "huggingface", "torch")
        transformers = framework("transformers", "huggingface", "transformers")
        torch.set_num_threads(threads(options.env))
        given = {"local_files_only": True, "trust_remote_code": options.trust_code}
        try:
            config = transformers.AutoConfig.from_pretrained(str(folder), **given)
            task = settings.task or of_architecture(config.architectures or ())
            network, found = getattr(transformers, LOADERS[task]).from_pretrained(
                str(folder), dtype=settings.dtype, output_loading_info=True, **given
            )
            _require_weights(folder, task, found["missing_keys"])
            return _made(name, torch, transformers, folder, task, settings, network.eval(), given)
        except LoadFailed:
            raise
        except Exception as error:  # the library's readers have no common error
            said = " ".join(str(error).split())[:300]
            raise LoadFailed(f"{folder} cannot be loaded by transformers: {said}") from error


def _made(
    name: str,
    torch: Any,
    transformers: Any,
    folder: Path,
    task: Task,
    settings: Settings,
    network: Any,
    given: dict[str, Any],
) -> Model:
    if task is Task.IMAGE_CLASSIFICATION:
        processor = transformers.AutoImageProcessor.from_pretrained(str(folder), **given)
        return ImageModel(name, torch, processor, network, settings)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), do_lower_case=settings.lower_case, **given)
    _require_padding(tokenizer, network)
    if task in _GENERATIVE:
        return GenerativeModel(name, torch, tokenizer, network, task, settings)
    if settings.probabilities or settings.logits:
        if task not in _SCORED:
            raise LoadFailed(f"--return-probabilities and --return-raw-logits are for classes, and the task is {task}")
        return ScoredModel(name, torch, tokenizer, network, task, settings)
    if task is Task.FILL_MASK and tokenizer.mask_token_id is None:
        raise LoadFailed(f"{folder}: the tokenizer has no mask token, which {task} needs; save it with one")
    return TextModel(name, torch, tokenizer, network, task, settings)


def _require_weights(folder: Path, task: Task, missing: Iterable[str]) -> None:
    """Weights that the file has not would be random numbers, and so would be the answers."""
    absent = sorted(key for key in missing if not (task is Task.TEXT_EMBEDDING and key.startswith("pooler.")))
    if absent:
        raise LoadFailed(
            f"{folder} has no weights for {', '.join(absent[:4])}, which {task} needs: it was made for another task; "
            "give another --task"
        )


def _require_padding(tokenizer: Any, network: Any) -> None:
    """Texts of one request must be filled up to one length; what is filled in is masked, so any token will do."""
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
            network.resize_token_embeddings(len(tokenizer))
        else:
            tokenizer.pad_token = tokenizer.eos_token
        _log.warning("the tokenizer has no padding token; it uses %s", tokenizer.pad_token)
    network.config.pad_token_id = tokenizer.pad_token_id
