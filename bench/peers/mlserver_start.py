"""MLServer with a custom model in its own process (`parallel_workers: 0`, its fastest mode for a quick model)."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
model, port = sys.argv[1], int(sys.argv[2])
folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
settings = {
    "debug": False,
    "host": "127.0.0.1",
    "http_port": port,
    "grpc_port": port + 1,
    "metrics_port": port + 2,
    "parallel_workers": 0,
    "metrics_dir": str(folder),
    "environments_dir": str(folder / "environments"),
}
(folder / "settings.json").write_text(json.dumps(settings))
served = {"name": "iris", "implementation": "mlserver_model.Iris", "parameters": {"uri": model}}
(folder / "model-settings.json").write_text(json.dumps(served))
os.environ["PYTHONPATH"] += f":{HERE}"  # where mlserver_model lies
program = Path(sys.executable).with_name("mlserver")
os.execv(program, [str(program), "start", str(folder)])
