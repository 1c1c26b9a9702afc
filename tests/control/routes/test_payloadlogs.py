"""From `logger` to what the gateway is told, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.routes.payloadlogs import causes, settings
from colonnade.gateway.payloads.settings import Logging

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
