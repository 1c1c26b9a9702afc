"""What was acknowledged before a kill -9 is there after it, and versions go on rising."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from colonnade.control.store import UNSYNCED, Ref, Store

_WRITER = """
import sys
from pathlib import Path
from colonnade.control.store import Ref, Store
store = Store(Path(sys.argv[1]), history=64)
prefix, number = sys.argv[2], 0
while True:
    ref = Ref("g", "things", "default", f"{prefix}-{number}")
    store.create(ref, {"metadata": {}, "spec": {"n": 0}})
    made = store.update(ref, {"metadata": {}, "spec": {"n": 1}})
    if number >= 3:
        store.delete(ref._replace(name=f"{prefix}-{number - 3}"))
    print(made["metadata"]["name"], store.version, flush=True)
    number += 1
"""


def test_a_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "colonnade.db"
    dice = random.Random(7)
    last = 0
    for run in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), f"r{run}"], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(dice.randrange(1, 40))]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
        writer.wait(10)
        acknowledged = [line.split() for line in "".join([*lines, rest]).splitlines() if len(line.split()) == 2]
        versions = [int(version) for _, version in acknowledged]
        assert versions == sorted(set(versions))
        assert versions[0] > last
        store = Store(path, history=64)
        assert store.version >= versions[-1]
        kept = [name for name, _ in acknowledged[-2:]]  # older ones were deleted, or may have been
        for name in kept:
            found = store.get(Ref("g", "things", "default", name))
            assert found is not None
            assert found["spec"] == {"n": 1}
        for name, _ in acknowledged[:-4]:
            assert store.get(Ref("g", "things", "default", name)) is None
        story = store.changes("g", "things", store.floor)
        assert [change.version for change in story] == sorted({change.version for change in story})
        assert story[-1].version == store.version - UNSYNCED  # which are skipped after a kill
        last = store.version
        store.close()


def test_a_power_cut_may_take_what_is_not_durable_and_gives_no_version_twice(tmp_path: Path) -> None:
    path = tmp_path / "colonnade.db"
    store = Store(path)
    store.create(Ref("g", "things", "default", "kept"), {"metadata": {}})
    disk = {each.name: each.read_bytes() for each in tmp_path.iterdir()}  # all that had to be there
    for number in range(UNSYNCED - 1):
        store.create(Ref("g", "things", "default", f"lost-{number}"), {"metadata": {}}, durable=False)
    seen = store.version
    store.close()
    for each in tmp_path.iterdir():
        each.unlink()
    for name, content in disk.items():
        (tmp_path / name).write_bytes(content)
    store = Store(path)
    assert [each["metadata"]["name"] for each in store.list("g", "things")[0]] == ["kept"]
    made = store.create(Ref("g", "things", "default", "next"), {"metadata": {}})
    assert int(made["metadata"]["resourceVersion"]) > seen
    store.close()
