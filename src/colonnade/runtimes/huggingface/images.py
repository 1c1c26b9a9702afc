"""Image classification: encoded images (PNG, JPEG) to classes."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np

from colonnade.errors import InvalidInput
from colonnade.model.contract import Model
from colonnade.runtimes.base import framework
from colonnade.runtimes.huggingface.settings import Settings
from colonnade.wire.tensors import InferRequest, TensorSpec


class ImageModel(Model):
    """An image processor and a network."""

    platform = "transformers"
    lenient = True

    def __init__(self, name: str, torch: Any, processor: Any, network: Any, settings: Settings) -> None:
        super().__init__(name)
        self._torch = torch
        self._processor = processor
        self._network = network
        self._settings = settings
        self._scores = settings.probabilities or settings.logits
        self._library = framework("PIL.Image", "huggingface", "pillow")
        self.inputs = [TensorSpec("input-0", "BYTES", (-1,))]
        labels = int(network.config.num_labels)
        self.outputs = [TensorSpec("output-0", *(("FP32", (-1, labels)) if self._scores else ("INT64", (-1,))))]

    def predict(self, payload: Any) -> Any:
        """The class of each image, or the numbers of all classes.

        Raises:
            InvalidInput: the request holds something that is no image; says which.
        """
        images = [self._opened(position, image) for position, image in enumerate(_encoded(payload))]
        if not images:
            raise InvalidInput("The request has no image; send one at least")
        with self._torch.inference_mode():
            logits = self._network(**self._processor(images, return_tensors="pt")).logits.float()
        if not self._scores:
            return logits.argmax(-1).numpy()
        found: np.ndarray = (logits if self._settings.logits else self._torch.softmax(logits, -1)).numpy()
        if isinstance(payload, InferRequest):
            return found
        rounded = found if self._settings.logits else found.round(4)
        return {"predictions": [{str(index): score for index, score in enumerate(row)} for row in rounded]}

    def _opened(self, position: int, content: bytes) -> Any:
        try:
            return self._library.open(io.BytesIO(content)).convert("RGB")
        except Exception:  # its readers raise anything on bytes that are no image
            raise InvalidInput(f"image {position} is in no format that can be read; send PNG or JPEG") from None


def _encoded(payload: Any) -> list[bytes]:
    """The bytes of each image: a BYTES tensor, or in V1 base64 as text, `{"b64": ...}` or `{"image": {"b64": ...}}`."""
    if isinstance(payload, InferRequest):
        if len(payload.inputs) != 1 or payload.inputs[0].data.dtype.kind != "O":
            raise InvalidInput("The model takes one input of images; send their bytes as BYTES")
        return [bytes(image) for image in payload.inputs[0].data.reshape(-1).tolist()]
    values = payload.get("inputs", payload.get("instances")) if isinstance(payload, dict) else None
    if not isinstance(values, list):
        raise InvalidInput('The request has no list of images; send {"instances": [{"b64": "..."}]}')
    return [_decoded(position, value) for position, value in enumerate(values)]


def _decoded(position: int, value: Any) -> bytes:
    for key in ("image", "data", "b64"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidInput(f"image {position} is no base64; encode the file's bytes") from None
