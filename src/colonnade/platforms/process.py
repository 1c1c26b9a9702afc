"""Processes that outlive their parent: how they are named, started, recognised, watched and ended.

A process id alone says nothing after a restart of the control plane, since the kernel gives ids again. So an identity
is the id with the kernel's start time and the boot; and each process carries a mark in its environment, so that one
whose start was not written down before a crash is still found. Ends are seen through pidfds, which work for children
and for adopted processes alike and cannot mean another process. Used for replicas and for the gateway.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from colonnade import errors

STATE_VARIABLE = "COLONNADE_STATE"  # the state directory whose platform started this process
RUN_VARIABLE = "COLONNADE_RUN"  # names one run of one replica

# What a child gets of our environment: what programs need to find themselves, libraries, certificates and devices.
_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"}
    | {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HF_HOME"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)
_KEPT_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_", "OMP_", "OPENBLAS_", "MKL_")


class Identity(msgspec.Struct, frozen=True):
    """One process, for good: `ticks` is its start in clock ticks since boot, `boot` the kernel's boot id."""

    pid: int
    ticks: int
    boot: str


def boot_id() -> str:
    """The id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on, or None if there is no such process. See proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode("latin-1")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return text.rpartition(")")[2].split()


def identify(pid: int) -> Identity | None:
    """The identity of a living process (a zombie does not live), or None."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return Identity(pid=pid, ticks=int(fields[19]), boot=boot_id())


def alive(identity: Identity) -> bool:
    """Whether exactly this process lives."""
    return identify(identity.pid) == identity


def environment(parent: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: the clean part of the parent's, then `extra`.

    Pure. `PYTHONUNBUFFERED` is set, so that what a model prints is in its log at once and not lost in a crash.
    `OMP_NUM_THREADS` is 1 unless somebody set it: replicas on one machine share its cores, and a pool of
    threads per core in each of them makes all of them slow. ONNX Runtime tells its maker nothing, and begins no thread
    to do so, unless somebody wants that. `python` means the interpreter that runs us, also
    where nobody activated its virtual environment.
    """
    kept = {name: value for name, value in parent.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    kept["PATH"] = os.pathsep.join(filter(None, (os.path.dirname(sys.executable), kept.get("PATH", os.defpath))))
    return {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1", **kept, **extra}


def marks(state: str, run: str) -> dict[str, str]:
    """The environment variables by which `strays` finds a process again."""
    return {STATE_VARIABLE: state, RUN_VARIABLE: run}


def open_output(path: Path) -> int:
    """A descriptor of the file that takes what a process prints."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class Child(Protocol):
    """A process whose end we are told: started by us, or forked for us."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None:
        """SIGKILL to it alone."""

    def reap(self, told: Callable[[int | None], None]) -> None:
        """Release its id, which is kept until then, and tell how it ended: its exit code, or the negative number of a
        signal; None if nobody knows any more. To be called once, when it has ended or will soon."""


class Program(subprocess.Popen[bytes]):
    """A `Child` that this process started."""

    def reap(self, told: Callable[[int | None], None]) -> None:
        told(self.wait())


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Path, pass_fds: Iterable[int] = ()
) -> Program:
    """Start a program in its own session, stdout and stderr appended to `output` (mode 0600), stdin empty.

    Raises:
        errors.LoadFailed: the program cannot be started; the message names it and the cause.
    """
    log = open_output(output)
    try:
        return Program(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except OSError as error:
        missing = Path(error.filename).name if error.filename else argv[0]
        raise errors.LoadFailed(
            f"Cannot start {argv[0]}: {error.strerror} ({missing}); check that the program is installed and on PATH."
        ) from error
    except ValueError as error:  # a NUL byte in an argument or a variable
        raise errors.LoadFailed(f"Cannot start {argv[0]}: {error}.") from error
    finally:
        os.close(log)


def strays(state: str, known: Iterable[str] = ()) -> list[Identity]:
    """Living processes of this user that carry the mark of `state` and a run that is not `known`."""
    wanted = f"{STATE_VARIABLE}={state}".encode()
    spared = {f"{RUN_VARIABLE}={run}".encode() for run in known}
    return [found for found, variables in _marked() if wanted in variables and not spared & variables]


def of_run(state: str, run: str) -> list[Identity]:
    """All living processes of one run: its leader and whatever it started, sessions of their own included."""
    wanted = {f"{name}={value}".encode() for name, value in marks(state, run).items()}
    return [found for found, variables in _marked() if wanted <= variables]


def _marked() -> list[tuple[Identity, set[bytes]]]:
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            raw = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:  # gone, or of another user
            continue
        prefix = f"{RUN_VARIABLE}=".encode()
        if prefix in raw and (identity := identify(int(entry))) is not None:
            found.append((identity, set(raw.split(b"\0"))))
    return found


def memory(pid: int) -> int:
    """Bytes in memory of a process, with its part of what it shares; 0 if there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def kill(identities: Iterable[Identity]) -> None:
    """SIGKILL, through a pidfd each, so that a process id given again is never hit."""
    for identity in identities:
        try:
            handle = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            continue
        try:
            if alive(identity):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        finally:
            os.close(handle)


class Process:
    """A living process, child or adopted, watched by the running event loop.

    `on_exit` is called once, from the loop, after the end was seen and the rest of the process's group was killed.
    """

    def __init__(
        self,
        identity: Identity,
        on_exit: Callable[[], None],
        *,
        child: Child | None = None,
    ) -> None:
        """Raises ProcessLookupError if the process is gone (a child never is before it was waited for)."""
        self.identity = identity
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.ended = asyncio.Event()
        self._child = child
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._handle: int | None = os.pidfd_open(identity.pid)
        if child is None and not alive(identity):
            self.release()
            raise ProcessLookupError(identity.pid)
        self._loop.add_reader(self._handle, self._exited)

    @classmethod
    def of_child(cls, child: Child, on_exit: Callable[[], None]) -> Process:
        """Watch a process just started. It may have ended already: its identity is fixed until it is waited for."""
        fields = _stat(child.pid)
        ticks = int(fields[19]) if fields else 0
        return cls(Identity(pid=child.pid, ticks=ticks, boot=boot_id()), on_exit, child=child)

    @property
    def pid(self) -> int:
        return self.identity.pid

    def send(self, number: signal.Signals) -> None:
        """Signal the whole process group. Does nothing once the process has ended."""
        if self._handle is None or not alive(self.identity):
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    async def end(self, grace: float) -> None:
        """SIGTERM, SIGKILL after `grace` seconds, and return when the process is gone."""
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.ended.wait(), grace)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.ended.wait()

    def release(self) -> None:
        """Stop watching; the process runs on."""
        if self._handle is not None:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = None

    def _exited(self) -> None:
        self.release()
        if self._child is not None:
            self._kill_rest()  # before it is reaped: until then the id of the group is surely ours
            self._child.reap(self._settle)
            return
        if not self._group_reused():
            self._kill_rest()
        self._settle(None)

    def _settle(self, code: int | None) -> None:
        if code is not None:
            self.exit_code, self.signal = (code, None) if code >= 0 else (None, -code)
        self.ended.set()
        self._on_exit()

    def _group_reused(self) -> bool:
        """Whether the id now belongs to another process, which the kernel allows only once our group is empty."""
        found = identify(self.pid)
        return found is not None and found != self.identity

    def _kill_rest(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
