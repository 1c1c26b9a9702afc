"""What a machine has, as its cgroups and its driver say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colonnade.platforms import machine

V2 = "0::/a/b\n"
V1 = "9:name=systemd:/\n4:memory:/c\n1:cpu:/\n"


@pytest.mark.parametrize(
    ("membership", "files", "cpu", "memory"),
    [
        ("", {}, None, None),
        (V2, {"a/b/cpu.max": "max 100000", "a/b/memory.max": "max"}, None, None),
        (V2, {"a/b/cpu.max": "50000 100000", "a/b/memory.max": "1048576"}, 500, 1 << 20),
        (V2, {"a/b/cpu.max": "50000 100000", "a/cpu.max": "25000 100000", "memory.max": "4096"}, 250, 4096),
        (V1, {"memory/c/memory.limit_in_bytes": "1048576"}, None, 1 << 20),
        (V1, {"memory/c/memory.limit_in_bytes": "9223372036854771712"}, None, None),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, None),
        (V1, {"cpu/cpu.cfs_quota_us": "10000", "cpu/cpu.cfs_period_us": "100000"}, 100, None),
        (V1, {"cpu/cpu.cfs_quota_us": "10000"}, None, None),
    ],
)
def test_the_least_limit_counts(
    tmp_path: Path, membership: str, files: dict[str, str], cpu: int | None, memory: int | None
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text + "\n")
    found = machine.cpu(tmp_path / "root", tmp_path / "membership")
    assert found == (len(os.sched_getaffinity(0)) * 1000 if cpu is None else cpu)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory(tmp_path / "root", tmp_path / "membership") == (whole if memory is None else memory)


@pytest.mark.parametrize(
    ("answer", "chosen", "found"),
    [
        ("0\n1\n2", None, ("0", "1", "2")),
        ("0\n1\n2", "2,0", ("2", "0")),
        ("0\n1", "1, 7", ("1",)),
        ("0\n1", "", ()),
        ("0\n1", "GPU-aa", ("GPU-aa",)),
        ("No devices were found", None, ()),
    ],
)
def test_devices(tmp_path: Path, answer: str, chosen: str | None, found: tuple[str, ...]) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n")
    program.chmod(0o755)
    environment = {"PATH": str(tmp_path)} | ({} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen})
    assert machine.gpus(environment) == found


def test_a_driver_that_fails_has_no_devices(tmp_path: Path) -> None:
    assert machine.gpus({"PATH": str(tmp_path)}) == ()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0; exit 9\n")
    program.chmod(0o755)
    assert machine.gpus({"PATH": str(tmp_path)}) == ()
