"""A running API and the ways to it, for the tests beside this file."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from colonnade.control.store import Ref, Store
from colonnade.platforms.base import LogPaths

TOKEN = "a-token-that-only-these-tests-know-0123456789"
GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
SERVICES = f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}"


@dataclass
class Folder:
    """Logs of pods as files in a folder."""

    path: Path

    def log_paths(self, key: str) -> LogPaths:
        name = key.replace("/", "_")
        return LogPaths(self.path / f"{name}.log", self.path / f"{name}.log.1")


@dataclass
class Cluster:
    """A running API and the ways to it."""

    store: Store
    url: str
    kubeconfig: Path
    logs: Folder
    http: httpx.Client
    environment: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, **environment: str) -> str:
        """Runs kubectl and returns its output; with `check=False` stderr follows stdout."""
        done = subprocess.run(
            [
                "kubectl",
                "--kubeconfig",
                str(self.kubeconfig),
                "--cache-dir",
                str(self.kubeconfig.parent / "cache"),
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**self.environment, **environment},
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def get(self, name: str) -> dict[str, Any]:
        found = self.store.get(service_ref(name))
        assert found is not None, name
        return found


def service_ref(name: str, namespace: str = "default") -> Ref:
    return Ref(GROUP, PLURAL, namespace, name)


def service(name: str, uri: str = "/models/iris", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {"name": name, **metadata},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri}}},
    }
