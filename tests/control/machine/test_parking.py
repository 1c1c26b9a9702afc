"""Models that sleep in memory: which, and for how long."""

from __future__ import annotations

import asyncio
import mmap
from pathlib import Path

import pytest

from colonnade.control.machine.parking import Parked, Parking, weights, within


@pytest.mark.parametrize(
    ("sizes", "budget", "kept"),
    [
        ({}, 10, []),
        ({"a": 4, "b": 6}, 10, ["b", "a"]),
        ({"a": 4, "b": 6, "c": 1}, 10, ["c", "b"]),
        ({"a": 4, "b": 60, "c": 1}, 10, ["c", "a"]),  # what fits nowhere takes no room
        ({"a": 1}, 0, []),
    ],
)
def test_the_newest_stay(sizes: dict[str, int], budget: int, kept: list[str]) -> None:
    assert within({name: Parked((), size) for name, size in sizes.items()}, budget) == kept


def test_what_a_command_line_loads() -> None:
    assert weights(("python", "-m", "colonnade.server", "--model-dir", "/m", "--runtime", "onnx")) == [Path("/m")]
    assert weights(("mlserver", "start", "/m")) == []


async def test_parked_until_it_wakes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(b"x" * 5000)
    (tmp_path / "config").write_bytes(b"x" * 100)
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    told: list[str] = []
    parking = Parking(6000, told.append)
    assert await parking.park("ns/a", [tmp_path]) == parking.parked("ns/a") == 5100
    assert await parking.park("ns/b", [tmp_path / "config"]) == 100
    assert await parking.park("ns/c", [tmp_path / "sub" / "weights"]) == 5000
    assert parking.parked("ns/a") == 0, "it was parked first, and has no room beside the others"
    parking.wake("ns/c", [tmp_path / "sub"])
    assert [parking.parked(name) for name in ("ns/a", "ns/b", "ns/c")] == [5100, 100, 0]
    parking.forget("ns/a")
    parking.forget("ns/unknown")
    assert parking.parked("ns/a") == 0
    assert told == ["ns/a", "ns/b", "ns/a", "ns/c", "ns/a", "ns/c", "ns/a"], "each that comes or goes"


async def test_no_budget_parks_nothing(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x")
    assert await Parking(0).park("ns/a", [tmp_path]) == 0


async def test_it_runs_beside_what_it_reads_and_what_is_gone(tmp_path: Path) -> None:
    weights_ = tmp_path / "weights"
    weights_.write_bytes(b"x" * mmap.PAGESIZE)
    parking = Parking(1 << 20)
    await parking.park("ns/a", [weights_, tmp_path / "gone"])
    weights_.unlink()
    task = asyncio.create_task(parking.run())
    parking.wake("ns/b", [tmp_path / "gone"])
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
