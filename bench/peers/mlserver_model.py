"""The custom model that MLServer serves: `peers/mlserver_start.py` names it."""

from __future__ import annotations

import work
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Iris(MLModel):
    async def load(self) -> bool:
        self.run = work.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = NumpyCodec.decode_input(payload.inputs[0]).astype("float32", copy=False)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("label", self.run(array))])
