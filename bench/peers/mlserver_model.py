"""The custom model that MLServer serves: `mlserver_start` names it. It costs less than MLServer's sklearn runtime."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench import work


class Served(MLModel):
    async def load(self) -> bool:
        self.run = work.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = NumpyCodec.decode_input(payload.inputs[0]).astype("float32", copy=False)
        result = self.run(array)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("label", result)])
