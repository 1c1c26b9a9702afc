"""MLServer with a custom model. `--workers 0` computes in the server's process, its fastest mode for a quick model;
`--workers 1` in a process beside it, its default.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench.peers.options import parse

options = parse()
settings = {
    "debug": False,
    "host": "127.0.0.1",
    "http_port": options.port,
    "grpc_port": options.port + 1,
    "grpc_max_message_length": 64 << 20,
    "metrics_port": options.port + 2,
    "parallel_workers": options.workers,
    "metrics_dir": str(options.folder),
    "environments_dir": str(options.folder / "environments"),
}
(options.folder / "settings.json").write_text(json.dumps(settings))
implementation = "bench.peers.mlserver_model.Served"
served = {"name": options.name, "implementation": implementation, "parameters": {"uri": options.model}}
if options.batch_size:
    served |= {"max_batch_size": options.batch_size, "max_batch_time": options.batch_delay}
(options.folder / "model-settings.json").write_text(json.dumps(served))
program = Path(sys.executable).with_name("mlserver")
os.execv(program, [str(program), "start", str(options.folder)])
