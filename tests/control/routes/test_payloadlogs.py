"""From `logger` to what the gateway is told, as a table; and whose credentials it gets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.events import Events
from colonnade.control.models.credentials import Credentials
from colonnade.control.objects import Ref
from colonnade.control.routes.payloadlogs import PayloadLogs, causes, settings
from colonnade.control.store import Store
from colonnade.gateway.payloads.places import place
from colonnade.gateway.payloads.settings import Logging
from colonnade.storage.volumes import Volumes

from ...storage.buckets import serving

PLACEHOLDER = "<scheme-placeholder>"


def service(logger: dict[str, Any] | None, annotations: dict[str, str] | None = None, **extension: Any) -> Any:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "default", "uid": "1", "annotations": annotations or {}},
        "spec": {"predictor": {"logger": logger, **extension}},
    }


def stored(path: str, **parameters: str) -> dict[str, Any]:
    return {"mode": "all", "storage": {"path": path, "parameters": parameters, "key": "k"}}


@pytest.mark.parametrize(
    ("logger", "wanted"),
    [
        (None, None),
        ({"mode": "all", "url": "http://x/y"}, Logging(url="http://x/y")),
        ({"mode": "request", "url": "https://x", "batchSize": 1}, Logging(mode="request", url="https://x")),
        (
            {"mode": "all", "url": "http://x", "batchSize": 5, "batchInterval": "1m30s"},
            Logging(url="http://x", batch=5, interval=90.0),
        ),
        ({"mode": "all", "url": "s3://b/p", "batchSize": 1}, Logging(folder="s3://b/p", batch=1)),
        (
            {"mode": "all", "url": "gs://b", "storage": {"path": "logs", "parameters": {"format": "csv"}, "key": "k"}},
            Logging(folder="gs://b/logs", format="csv"),
        ),
        (stored("/var/log/x", format="parquet"), Logging(folder="/var/log/x", format="parquet")),
        (stored("file:///var/x"), Logging(folder="file:///var/x")),
        (stored("pvc://claim/x"), Logging(folder="pvc://claim/x")),
        (stored("some/path"), Logging(folder=f"{PLACEHOLDER}://some/path")),
        (
            {"mode": "all", "url": "http://x", "metadataHeaders": ["A", "b"], "metadataAnnotations": ["team", "none"]},
            Logging(url="http://x", headers=("A", "b"), annotations=(("team", "t"),)),
        ),
    ],
)
def test_what_a_logger_asks_for(logger: Any, wanted: Logging | None) -> None:
    assert settings(service(logger, {"team": "t"}), "predictor") == wanted


def test_what_annotations_and_labels_ask_for() -> None:
    annotations = {
        "colonnade.dev/log-sample": "0.1",
        "colonnade.dev/log-redact": "$..name, x-user,/[0-9]+/",
        "colonnade.dev/log-max-bytes": "1000",
        "colonnade.dev/log-failures": "true",
    }
    isvc = service({"mode": "all", "url": "http://x"}, annotations, labels={"endpoint": "blue"})
    assert settings(isvc, "predictor") == Logging(
        url="http://x",
        endpoint="blue",
        sample=0.1,
        limit=1000,
        redact=("$..name", "x-user", "/[0-9]+/"),
        failures=True,
    )


URL = {"mode": "all", "url": "http://x"}


@pytest.mark.parametrize(
    ("logger", "annotations", "text"),
    [
        ({"mode": "all"}, {}, "neither url nor storage.path"),
        ({"mode": "all", "url": "ftp://x"}, {}, "'ftp://x'"),
        (stored("abfs://c@a/x"), {}, "storage.path 'abfs://c@a/x'"),
        (stored("/x", format="avro"), {}, "format must be one of json, csv, parquet, not 'avro'"),
        ({**URL, "batchSize": -1}, {}, "batchSize"),
        ({**URL, "batchInterval": "soon"}, {}, "batchInterval"),
        ({**URL, "batchInterval": "-1s"}, {}, "batchInterval"),
        (URL, {"colonnade.dev/log-sample": "1.5"}, "log-sample must be a number from 0 to 1, not '1.5'"),
        (URL, {"colonnade.dev/log-sample": "nan"}, "log-sample"),
        (URL, {"colonnade.dev/log-max-bytes": "-1"}, "log-max-bytes"),
        (URL, {"colonnade.dev/log-failures": "yes"}, "log-failures"),
        (URL, {"colonnade.dev/log-redact": "$.a[, x"}, "log-redact"),
        (URL, {"colonnade.dev/log-redact": '["$.a"'}, "log-redact"),
    ],
)
def test_what_makes_no_sense_is_named(logger: Any, annotations: dict[str, str], text: str) -> None:
    ((path, message),) = causes(service(logger, annotations))
    assert path == "spec.predictor.logger"
    assert text in message


@pytest.fixture
def logs(tmp_path: Path) -> tuple[PayloadLogs, Store, Path]:
    store = Store(tmp_path / "db")
    credentials = Credentials(store, tmp_path / "ca")
    (tmp_path / "claim").mkdir()
    volumes = Volumes({"claim": tmp_path / "claim"})
    return PayloadLogs(credentials, lambda _: volumes, tmp_path / "access", Events(store)), store, tmp_path


def test_folders_of_this_machine(logs: tuple[PayloadLogs, Store, Path]) -> None:
    payloads, _, root = logs
    for path, folder in (
        ("/x", "/x"),
        ("file:///x/y", "/x/y"),
        ("pvc://claim/a/b", str(root / "claim/a/b")),
    ):
        assert payloads.of(service(stored(path)), "predictor") == Logging(folder=folder)


def test_a_bucket_gets_the_keys_of_its_secret_in_a_file_of_its_own(logs: tuple[PayloadLogs, Store, Path]) -> None:
    payloads, store, _ = logs
    entry = {"type": "s3", "bucket": "b", "access_key_id": "id", "secret_access_key": "s3cret"}
    entry["endpoint_url"] = "http://127.0.0.1:1"
    data = {"k": base64.b64encode(json.dumps(entry).encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage-config", "namespace": "default"}}
    store.create(Ref("", "secrets", "default", "storage-config"), {**secret, "data": data})
    found = payloads.of(service(stored("logs/here", format="csv")), "predictor")
    assert found is not None
    assert (found.folder, found.format) == ("s3://b/logs/here", "csv")
    access = Path(found.access)
    assert access.stat().st_mode & 0o077 == 0
    said = json.loads(access.read_bytes())
    assert said["config"]["secret_access_key"] == "s3cret"
    assert said["client_options"]["allow_http"] is True
    assert "s3cret" not in repr(found)


def test_a_real_bucket_takes_the_files(logs: tuple[PayloadLogs, Store, Path]) -> None:
    payloads, store, _ = logs
    with serving() as buckets:
        buckets.put("logs", {})
        entry = {"type": "s3", "bucket": "logs", "endpoint_url": buckets.endpoint}
        entry |= {"access_key_id": "known", "secret_access_key": "very-secret"}
        data = {"k": base64.b64encode(json.dumps(entry).encode()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage-config", "namespace": "default"}}
        store.create(Ref("", "secrets", "default", "storage-config"), {**secret, "data": data})
        found = payloads.of(service(stored("logs/here")), "predictor")
        assert found is not None
        place(found.folder, found.access).put("default/iris/date=2026-11-24/x.json", b"{}")
        (listed,) = buckets.client.list_objects_v2(Bucket="logs")["Contents"]
        assert listed["Key"] == "logs/here/default/iris/date=2026-11-24/x.json"


@pytest.mark.parametrize("path", ["pvc://nowhere/x", "some/path"])
def test_what_cannot_be_found_is_an_event(logs: tuple[PayloadLogs, Store, Path], path: str) -> None:
    payloads, store, _ = logs
    assert payloads.of(service(stored(path)), "predictor") is None
    ((event,), _) = store.list("", "events")
    assert event["reason"] == "PayloadLogFailed"
    assert event["type"] == "Warning"
