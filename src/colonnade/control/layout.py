"""Where things lie in a state directory."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from colonnade import errors

_SOCKET_PATH_BYTES = 100  # of the kernel's 107, less what the gateway appends
_LONGEST_SOCKET = "gateway-63.sock.grpc"


class Endpoints(msgspec.Struct, frozen=True, omit_defaults=True):
    """The addresses of a running platform, as `endpoints.json` holds them.

    With a `certificate`, the path of a file, HTTP and gRPC take TLS alone.
    """

    http: str
    grpc: str
    api: str
    certificate: str = ""


@dataclass(frozen=True)
class Layout:
    """The paths under one state directory."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "colonnade.db"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def endpoints(self) -> Path:
        return self.root / "endpoints.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def token(self) -> Path:
        return self.root / "token"

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def routes(self) -> Path:
        return self.root / "routes.json"

    def gateway(self, number: int) -> Path:
        """The record of a process of the gateway."""
        return self.root / (f"gateway-{number}.json" if number else "gateway.json")

    def gateway_admin(self, number: int) -> Path:
        """The admin socket of a process of the gateway."""
        return self.run / (f"gateway-{number}.sock" if number else "gateway.sock")

    @property
    def gateway_log(self) -> Path:
        return self.root / "gateway.log"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def scans(self) -> Path:
        """What was found in models, so that they are not scanned again."""
        return self.root / "scans"

    @property
    def payload_access(self) -> Path:
        """The folder for what the gateway needs to put payload logs into buckets."""
        return self.root / "payload-access"

    def volumes(self, namespace: str) -> Path:
        """The folder in which the claims of a namespace are folders."""
        return self.root / "volumes" / namespace

    @property
    def compiled(self) -> Path:
        return self.root / "compiled"

    @property
    def model_sets(self) -> Path:
        """The folder with a folder of models for each multi-model service."""
        return self.root / "model-sets"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def run(self) -> Path:
        """The folder of Unix sockets; under the temporary folder if paths in the state directory were too long."""
        inside = self.root / "run"
        if len(os.fsencode(inside / _LONGEST_SOCKET)) <= _SOCKET_PATH_BYTES:
            return inside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"colonnade-{short}"

    def create(self) -> None:
        """Make the folders, for this user only.

        Raises:
            errors.Forbidden: a folder cannot be made, or that of the sockets belongs to somebody else.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.run.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise errors.Forbidden(
                f"The state folder {self.root} cannot be made: {error.filename}: {error.strerror}. "
                "Name a folder that you may write to with --state-dir."
            ) from error
        found = self.run.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise errors.Forbidden(f"{self.run} is not a folder of this user; use a shorter --state-dir.")
        self.run.chmod(0o700)
