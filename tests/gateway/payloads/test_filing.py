"""The payload log as files: formats, partitions, crashes, and DuckDB as the reader."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from colonnade.gateway.payloads import places, spool
from colonnade.gateway.payloads.settings import Logging, Origin

from ..conftest import Running, Serve, Start, iris, until
from .test_posting import BODY, PREDICT, answering, logged

FORMATS = {"json": "read_json", "csv": "read_csv", "parquet": "read_parquet"}


def finals(folder: Path) -> list[Path]:
    """The files there, without those that are being written."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@pytest.mark.parametrize("kind", list(FORMATS))
async def test_duckdb_reads_the_files(running: Running, serve: Serve, tmp_path: Path, kind: Any) -> None:
    folder = tmp_path / "log"
    settings = Logging(folder=str(folder), format=kind, headers=("x-tenant",), annotations=(("team", "a"),))
    running.route(iris(await serve(answering()), logging=settings))
    await running.fetch("POST", PREDICT, BODY, content_type="application/json", x_tenant='t,"1', ce_id="one")
    await running.fetch("POST", PREDICT, b"\xff\x00\x01", content_type="application/octet-stream", ce_id="two")
    await until(lambda: logged(running) == {"written": 2})
    await running.end()  # finishes the files
    (file,) = finals(folder)
    today = datetime.now(UTC).date()
    assert file.parent == folder / "default" / "iris" / "predictor" / f"date={today.isoformat()}"
    assert file.stat().st_mode & 0o077 == 0
    read = f"{FORMATS[kind]}('{folder}/**/*.{kind}', hive_partitioning = true)"
    query = (
        f"SELECT date, id, reqType, url, bytes, bytesEncoding, status, size, inferenceService FROM {read} ORDER BY ALL"
    )
    rows = duckdb.sql(query).fetchall()
    assert [row[:3] for row in rows] == [
        (today, identity, f"org.kubeflow.serving.inference.{what}")
        for identity in ("one", "two")
        for what in ("request", "response")
    ]
    assert rows[0][3:] == (PREDICT, BODY.decode(), "utf-8", None, len(BODY), "iris")
    assert rows[1][3:] == (PREDICT, '{"predictions":[1]}', "utf-8", 200, 19, "iris")
    assert rows[2][4:6] == ("/wAB", "base64")
    maps = duckdb.sql(f"SELECT metadata, annotations FROM {read} WHERE id = 'one' LIMIT 1").fetchall()[0]
    metadata, annotations = (json.loads(one) if isinstance(one, str) else one for one in maps)
    assert metadata["X-Tenant"] == ['t,"1']
    assert annotations == {"team": "a"}
    assert duckdb.sql(f"SELECT count(*) FROM {read} WHERE bytes LIKE '%instances%'").fetchall() == [(1,)]


@pytest.mark.parametrize(("batch", "sizes"), [(4, [4, 4, 2]), (1, [1] * 10)])
async def test_a_batch_size_is_the_rows_of_a_file(
    running: Running, serve: Serve, tmp_path: Path, batch: int, sizes: list[int]
) -> None:
    folder = tmp_path / "log"
    running.route(iris(await serve(answering()), logging=Logging(folder=str(folder), batch=batch)))
    for _ in range(5):
        await running.fetch("POST", PREDICT, BODY)
    await running.end()
    assert [len(path.read_text().splitlines()) for path in finals(folder)] == sizes


async def test_a_file_is_finished_after_the_interval(running: Running, serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    running.route(iris(await serve(answering()), logging=Logging(folder=str(folder), interval=0.1)))
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: len(finals(folder)) == 1)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: len(finals(folder)) == 2)


async def test_a_writer_that_is_killed_leaves_no_half_file_and_loses_no_row(
    running: Running, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    running.route(iris(await serve(answering()), logging=Logging(folder=str(folder), format="parquet")))
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 1})
    channel = running.gateway._payloads
    assert channel._child is not None
    assert finals(folder) == []
    rows = next(running.routes_file.with_name("payloads").glob("*/*.rows"))
    with rows.open("ab") as file:
        file.write(b'{"url":"cut o')  # as a crash leaves it
    channel._child.kill()
    await until(lambda: len(finals(folder)) == 1, 10)
    (file_path,) = finals(folder)
    assert duckdb.sql(f"SELECT count(*) FROM read_parquet('{file_path}')").fetchall() == [(2,)]
    await until(lambda: not rows.exists())


async def test_a_folder_that_cannot_be_written_delays_files_and_loses_none(
    running: Running, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    running.route(iris(await serve(answering()), logging=Logging(folder=str(folder), batch=2)))
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 1})
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 2})
    folder.unlink()
    await until(lambda: len(finals(folder)) == 2 if folder.is_dir() else False, 10)


async def test_what_a_gateway_left_behind_is_filed_by_the_next(start: Start, serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    address = await serve(answering())
    first = await start(grace=0.1)
    first.route(iris(address, logging=Logging(folder=str(folder))))
    await first.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(first) == {"written": 1})
    channel = first.gateway._payloads
    assert channel._child is not None
    channel._closing = True  # it does not come back
    channel._child.kill()
    await until(lambda: channel._writer is None)
    folder.unlink()
    await first.end()
    second = await start(grace=0.1)
    other = iris(address, logging=Logging(folder=str(tmp_path / "other")), component="explainer")
    second.route(other)
    await until(lambda: len(finals(folder)) == 1 if folder.is_dir() else False, 10)


async def test_two_processes_write_files_of_their_own(tmp_path: Path) -> None:
    origin, settings = Origin("default", "iris", "predictor"), Logging(folder="/x")
    folder = spool.folder_of(tmp_path, origin, settings)
    files = [spool.OpenFile(folder, "2026-11-24") for _ in range(3)]
    assert len({file.path for file in files}) == 3
    files[0].add([b"1", b"2"])
    code = (
        "import sys; from pathlib import Path; from colonnade.gateway.payloads import spool;"
        "print(len(list(spool.left_behind(Path(sys.argv[1])))))"
    )

    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(folder), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out == b"0\n"  # all are locked
    assert files[0].finished().lines() == [b"1", b"2"]


def test_a_file_is_put_whole_and_the_same_when_put_twice(tmp_path: Path) -> None:
    place = places.place(str(tmp_path), "")
    place.put("a/b.json", b"1\n")
    place.put("a/b.json", b"1\n")
    assert finals(tmp_path) == [tmp_path / "a" / "b.json"]
