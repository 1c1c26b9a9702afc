"""KServe's own model server with a custom model: the code path of its framework servers. Latency log off."""

from __future__ import annotations

import logging
import sys
import uuid

import work
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Iris(Model):
    def load(self) -> bool:
        self.run = work.load(sys.argv[1])
        self.ready = True
        return True

    def predict(self, request: InferRequest, headers=None, response_headers=None) -> InferResponse:
        labels = self.run(request.inputs[0].as_numpy())
        output = InferOutput(name="label", shape=list(labels.shape), datatype="INT64")
        output.set_data_from_numpy(labels, binary_data=False)
        return InferResponse(request.id or str(uuid.uuid4()), self.name, [output])


if __name__ == "__main__":
    port = int(sys.argv[2])
    model = Iris("iris")
    model.load()
    logging.disable(logging.CRITICAL)
    ModelServer(http_port=port, grpc_port=port + 1, enable_latency_logging=False).start([model])
