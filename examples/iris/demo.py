"""The main job in one run: train, start the platform, apply a KServe manifest, ask over V1, V2 and gRPC, stop.

Every step is a command that you can type yourself; each is printed before it runs. With `--stay` the platform keeps
the default ports and stays up until Ctrl-C; without, it takes free ports and a temporary state folder.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COLONNADE = Path(sys.executable).with_name("colonnade")


def main(stay: bool) -> int:
    subprocess.run([sys.executable, str(HERE / "train.py")], check=True, cwd=ROOT)
    if stay:
        return show(None)
    with tempfile.TemporaryDirectory(prefix="colonnade-") as folder:
        return show(Path(folder))


def show(state: Path | None) -> int:
    environment = dict(os.environ) if state is None else {**os.environ, "COLONNADE_STATE_DIR": str(state)}
    ports = [] if state is None else ["--http-port", "0", "--grpc-port", "0", "--api-port", "0"]
    began = time.monotonic()
    platform = start(["up", *ports, "--log-level", "warning"], environment)
    try:
        run(["apply", "-f", "examples/iris/isvc.yaml", "--wait"], environment)
        run(["get", "isvc", "sklearn-iris"], environment)
        print(f"\nReady {time.monotonic() - began:.1f} s after the start of the platform.")
        data = {"v1": "examples/iris/v1.json", "v2": "examples/iris/v2.json", "grpc": "examples/iris/v2.json"}
        for protocol, body in data.items():
            run(["predict", "sklearn-iris", "--protocol", protocol, "--data", body], environment)
        by_hand(environment)
        if state is None:
            print("\nThe platform stays up. Ctrl-C stops it.", flush=True)
            platform.wait()
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        stop(platform)


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Starts `colonnade up` and returns when it says that it is ready."""
    print(f"\n$ colonnade {shlex.join(arguments)} &", flush=True)
    platform = subprocess.Popen(
        [str(COLONNADE), *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert platform.stdout is not None
    line = platform.stdout.readline()
    if not line:
        raise SystemExit(f"colonnade up ended with exit code {platform.wait()}; its log is above")
    print(line, end="", flush=True)
    return platform


def run(arguments: list[str], environment: dict[str, str]) -> None:
    """Runs one command of the product as a person would type it, and ends the demo if it fails."""
    print(f"\n$ colonnade {shlex.join(arguments)}", flush=True)
    subprocess.run([str(COLONNADE), *arguments], cwd=ROOT, env=environment, check=True)


def by_hand(environment: dict[str, str]) -> None:
    """Prints the same calls for curl and kubectl."""
    listing = subprocess.run(
        [str(COLONNADE), "version", "-o", "json"], env=environment, capture_output=True, text=True, check=True
    )
    state = Path(json.loads(listing.stdout)["stateDir"])
    http = json.loads((state / "endpoints.json").read_text())["http"]
    print(f"""
The same by hand, while the platform runs (`make up` keeps it running):
  curl {http}/serving/default/sklearn-iris/v1/models/sklearn-iris:predict -d @examples/iris/v1.json
  curl {http}/v2/models/sklearn-iris/infer -d @examples/iris/v2.json
  curl {http}/v1/models/sklearn-iris:predict -H 'Host: sklearn-iris-default.example.com' -d @examples/iris/v1.json
  kubectl --kubeconfig {state}/kubeconfig get isvc""")


def stop(platform: subprocess.Popen[str]) -> None:
    if platform.poll() is None:
        platform.send_signal(signal.SIGTERM)
    code = platform.wait()
    if code:
        raise SystemExit(f"colonnade up ended with exit code {code}")
    print("\nThe platform has stopped.")


if __name__ == "__main__":
    raise SystemExit(main("--stay" in sys.argv[1:]))
