"""The control plane as a process: a service from manifest to answer, and what is left when something is killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from colonnade.platforms import process

from .running_plane import API, CONSENT, MODEL, UP, Json, Plane, python


def test_a_service_lives_through_every_kill(plane: Plane, model: Path) -> None:
    plane.apply("echo", python(model, minReplicas=2), **CONSENT)
    plane.until(lambda: plane.ready("echo"))
    assert plane.predict("echo")[0] == "hello"
    status = plane.status("echo")
    assert status["url"] == "http://echo-default.example.com"
    assert status["address"]["url"] == f"{plane.http}/serving/default/echo"
    assert status["modelStatus"]["copies"] == {"failedCopies": 0, "totalCopies": 2}

    # The control plane: serving goes on, and the next one adopts what runs.
    pods = {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in plane.pods("echo")}
    http, grpc = plane.http, plane.grpc
    plane.kill()
    assert plane.predict("echo")[0] == "hello"
    plane.start()
    assert (plane.http, plane.grpc) == (http, grpc)
    assert plane.ready("echo")
    found = {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in plane.pods("echo")}
    assert found == pods
    assert plane.predict("echo")[0] == "hello"

    # A replica: it comes back, and the crash shows.
    os.kill(int(next(iter(pods.values())).removeprefix("process://")), signal.SIGKILL)
    plane.until(lambda: any(p["status"]["containerStatuses"][0]["restartCount"] == 1 for p in plane.pods("echo")))
    plane.until(lambda: all(p["status"]["containerStatuses"][0]["ready"] for p in plane.pods("echo")))
    events = plane.api.get("/api/v1/namespaces/default/events").json()["items"]
    assert {"Created", "Started", "Ready", "BackOff"} <= {event["reason"] for event in events}

    # The gateway: the sockets live on, so that a request that comes now is answered by the next one.
    gateway = json.loads((plane.state / "gateway.json").read_text())["identity"]["pid"]
    os.kill(gateway, signal.SIGKILL)
    assert httpx.post(f"{http}/serving/default/echo/v1/models/echo:predict", json={}, timeout=20).status_code == 200


def test_scaling_makes_no_revision_and_stop_and_delete_leave_nothing(plane: Plane, model: Path) -> None:
    plane.apply("scale", python(model), **CONSENT)
    plane.until(lambda: plane.ready("scale"))
    first = plane.pods("scale")[0]["metadata"]["uid"]
    plane.apply("scale", python(model, minReplicas=2), **CONSENT)
    plane.until(lambda: len(plane.pods("scale")) == 2)
    plane.apply("scale", python(model, minReplicas=1), **CONSENT)
    plane.until(lambda: [pod["metadata"]["uid"] for pod in plane.pods("scale")] == [first])
    assert plane.status("scale")["components"]["predictor"]["latestCreatedRevision"] == "scale-predictor-00001"

    plane.apply("scale", python(model), **CONSENT, **{"serving.kserve.io/stop": "true"})
    plane.until(lambda: not plane.pods("scale") and plane.condition("scale", "Stopped").get("status") == "True")
    response = httpx.post(f"{plane.http}/serving/default/scale/v1/models/scale:predict", json={})
    assert response.status_code == 503
    assert "stopped" in response.text

    plane.apply("scale", python(model), **CONSENT)
    plane.until(lambda: plane.ready("scale"))
    pod = plane.pods("scale")[0]
    assert plane.api.delete(f"{API}/scale").status_code == 200
    plane.until(lambda: not plane.pods("scale"))
    pid = int(pod["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
    plane.until(lambda: process.identify(pid) is None)
    plane.until(lambda: not list((plane.state / "replicas").glob("default.scale-*")))
    assert list((plane.state / "run").glob("*.sock"))  # those of the other services


def test_a_service_that_is_ready_answers(plane: Plane) -> None:
    code = "import http.server, os; http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), "
    code += "http.server.SimpleHTTPRequestHandler).serve_forever()"
    with httpx.Client() as client:
        for number in range(5):
            name = f"quick{number}"
            plane.apply(name, {"containers": [{"name": "c", "command": ["python", "-S", "-c", code]}]})
            while not plane.ready(name):  # asked at once, not at leisure
                pass
            assert client.get(f"{plane.http}/serving/default/{name}/").status_code == 200


def test_a_command_runs_as_a_local_process(plane: Plane) -> None:
    code = "import http.server, os; http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), "
    code += "http.server.SimpleHTTPRequestHandler).serve_forever()"
    plane.apply("own", {"containers": [{"name": "kserve-container", "command": ["python", "-c", code]}]})
    plane.until(lambda: plane.ready("own"))
    assert httpx.get(f"{plane.http}/serving/default/own/").status_code == 200


def test_what_fails_says_why(plane: Plane, tmp_path: Path) -> None:
    plane.apply("absent", {"sklearn": {"storageUri": str(tmp_path / "absent")}})
    plane.apply("crash", {"containers": [{"name": "c", "command": ["python", "-c", "print('last word'); exit(7)"]}]})
    plane.apply("nothing", {"containers": [{"name": "c", "command": ["no-such-program"]}]})
    plane.apply("format", {"model": {"modelFormat": {"name": "unknown"}, "storageUri": str(tmp_path)}})

    def info(name: str) -> Json:
        found: Json = plane.until(lambda: (plane.status(name).get("modelStatus") or {}).get("lastFailureInfo"))
        return found

    absent = info("absent")
    assert (absent["reason"], absent["location"]) == ("ModelLoadFailed", str(tmp_path / "absent"))
    crash = info("crash")
    assert (crash["reason"], crash["exitCode"], crash["message"]) == ("RuntimeUnhealthy", 7, "last word")
    assert "no-such-program" in info("nothing")["message"]
    assert info("format")["reason"] == "NoSupportingRuntime"
    assert plane.condition("format")["status"] == "False"
    words = "ended with exit code 7 (RuntimeUnhealthy)"
    url = f"{plane.http}/serving/default/crash/v1/models/crash:predict"
    response = plane.until(lambda: (found := httpx.post(url, json={})) and words in found.text and found)
    assert response.status_code == 503
    assert "`colonnade why crash -n default` says more" in response.text
    assert "last word" not in response.text


def test_a_second_control_plane_is_refused_with_the_pid(plane: Plane) -> None:
    message = refused(plane.state)
    assert str(plane.process.pid) in message
    assert str(plane.state) in message


@pytest.mark.parametrize("port", ["http_port", "grpc_port", "api_port"])
def test_a_taken_port_is_named_and_nothing_is_left_running(tmp_path: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        message = refused(tmp_path / "state", {port: number})
    assert f"127.0.0.1:{number}" in message
    assert f"--{port.replace('_', '-')}" in message
    assert process.strays(str((tmp_path / "state").resolve())) == []


def test_a_refused_manifest_starts_nothing(tmp_path: Path) -> None:
    metadata = {"name": "iris"}
    good = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata}
    good["spec"] = {"predictor": {"sklearn": {"storageUri": "/m"}}}
    bad = {**good, "metadata": {"name": "Not A Name"}}
    assert "Not A Name" in refused(tmp_path / "state", {}, [good, bad])
    assert process.strays(str((tmp_path / "state").resolve())) == []
    assert not (tmp_path / "state" / "gateway.json").exists()


def refused(state: Path, ports: Json | None = None, manifests: list[Json] | None = None) -> str:
    """What a control plane says that does not start."""
    words = [sys.executable, "-c", UP, str(state), json.dumps(ports or {}), json.dumps(manifests or [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_the_kubeconfig_opens_the_api_over_tls(plane: Plane, tmp_path: Path) -> None:
    path = plane.state / "kubeconfig"
    assert path.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    token = config["users"][0]["user"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{cluster['server']}/api/v1/namespaces", headers=headers, verify=context).status_code == 200
    assert httpx.get(f"{cluster['server']}/api/v1/namespaces", verify=context).status_code == 401


async def test_a_stop_loses_no_request_in_flight(tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    wait = f"        import time, pathlib; pathlib.Path({str(tmp_path / 'in')!r}).touch(); time.sleep(1)\n"
    code = MODEL.replace("        return {", f"{wait}        return {{")
    (folder / "model.py").write_text(code)
    plane = await asyncio.to_thread(Plane, tmp_path / "state")
    try:
        plane.apply("slow", python(folder), **CONSENT)
        await asyncio.to_thread(plane.until, lambda: plane.ready("slow"))
        answer = asyncio.create_task(asyncio.to_thread(plane.predict, "slow"))
        await asyncio.to_thread(plane.until, (tmp_path / "in").exists)
    finally:
        code_of_exit = await asyncio.to_thread(plane.stop)
    assert (await answer)[0] == "hello"
    assert code_of_exit == 0
    assert not (tmp_path / "state" / "endpoints.json").exists()
    assert process.strays(str((tmp_path / "state").resolve())) == []
