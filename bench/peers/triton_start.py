"""Triton: the C++ server and the Python backend that the nvidia-pytriton wheel ships. It has no ONNX backend, so the
model runs in Triton's stub process, with its tensors in shared memory.

One instance, as the core is one. The dynamic batcher waits `--batch-delay` at most; without batching it is off.
Whatever the scheduler hands over at once is computed at once, as Triton's guide advises.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from bench.peers.options import parse

MODEL = """\
import sys

sys.path[:0] = {paths!r}
import numpy as np
import triton_python_backend_utils as triton

from bench import work


class TritonPythonModel:
    def initialize(self, args):
        self.run = work.load({model!r})

    def execute(self, requests):
        inputs = [triton.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        results = self.run(np.concatenate(inputs) if len(inputs) > 1 else inputs[0]).reshape(-1, 1)
        answers, row = [], 0
        for rows in inputs:
            end = row + len(rows)
            answers.append(triton.InferenceResponse([triton.Tensor("label", results[row:end])]))
            row = end
        return answers
"""

options = parse()
site = Path(sysconfig.get_path("purelib"))
triton = site / "pytriton" / "tritonserver"
repository = options.folder / "models"
version = repository / options.name / "1"
version.mkdir(parents=True)
output = "TYPE_FP32" if "mean" in options.model else "TYPE_INT64"
batching = f"dynamic_batching {{ max_queue_delay_microseconds: {round(options.batch_delay * 1e6)} }}"
(version.parent / "config.pbtxt").write_text(
    f"""backend: "python"
max_batch_size: {options.batch_size or 64}
input [{{ name: "X" data_type: TYPE_FP32 dims: [-1] }}]
output [{{ name: "label" data_type: {output} dims: [1] }}]
instance_group [{{ count: {options.workers} kind: KIND_CPU }}]
{batching if options.batch_size else ""}
"""
)
(version / "model.py").write_text(MODEL.format(paths=[str(site), os.environ["PYTHONPATH"]], model=options.model))
backends = options.folder / "backends"
shutil.copytree(triton / "backends" / "python", backends / "python")
stub = triton / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"
shutil.copy(stub, backends / "python")
libraries = [str(site / "nvidia_pytriton.libs"), os.environ.get("LD_LIBRARY_PATH", "")]
os.environ["LD_LIBRARY_PATH"] = ":".join(libraries)
program = triton / "bin" / "tritonserver"
arguments = [
    f"--model-repository={repository}",
    f"--backend-directory={backends}",
    f"--http-port={options.port}",
    f"--grpc-port={options.port + 1}",
    f"--metrics-port={options.port + 2}",
    "--http-address=127.0.0.1",
    "--grpc-address=127.0.0.1",
    "--metrics-address=127.0.0.1",
    "--log-info=0",
    "--log-warning=0",
]
os.execv(program, [str(program), *arguments])
