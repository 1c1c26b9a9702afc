"""KServe's own model server with a custom model: the code path of its framework servers, which are not on the registry.

Its latency log is off, which is worth 1.3 times. It has no batching of its own: KServe batches in a sidecar in Go.
"""

from __future__ import annotations

import logging
import sys
import uuid

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

from bench import work
from bench.peers.options import parse


class Served(Model):
    def load(self) -> bool:
        self.run = work.load(options.model)
        self.ready = True
        return True

    def predict(self, request: InferRequest, headers=None, response_headers=None) -> InferResponse:
        result = self.run(request.inputs[0].as_numpy())
        datatype = {"i": "INT64", "f": "FP32"}[result.dtype.kind]
        output = InferOutput(name="label", shape=list(result.shape), datatype=datatype)
        output.set_data_from_numpy(result, binary_data=False)
        return InferResponse(request.id or str(uuid.uuid4()), self.name, [output])


if __name__ == "__main__":
    options = parse()
    del sys.argv[1:]  # KServe reads them too
    model = Served(options.name)
    model.load()
    logging.disable(logging.CRITICAL)
    ModelServer(http_port=options.port, grpc_port=options.port + 1, enable_latency_logging=False).start([model])
