"""BentoML: one worker, access log and usage reports off."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.peers.options import parse

options = parse()
os.environ.update(
    BENCH_MODEL=options.model,
    BENCH_PATH=options.path,
    BENCH_BATCH_SIZE=str(options.batch_size),
    BENCH_BATCH_DELAY_MS=str(max(1, round(options.batch_delay * 1000))),
    BENTOML_DO_NOT_TRACK="1",
    BENTOML_HOME=str(options.folder),
)
program = Path(sys.executable).with_name("bentoml")
service = "bench.peers.bentoml_service:Served"
os.execv(program, [str(program), "serve", service, "--port", str(options.port), "--host", "127.0.0.1"])
