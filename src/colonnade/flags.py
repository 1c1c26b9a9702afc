"""The flags of the model server that manifests carry in `args`, and what each does here.

It lies below every room because two must agree on it: the server reads its command line by it, and `colonnade check`
tells from it what becomes of a manifest's `args`. KServe's spellings (`--model_name`) are the same flags. Source of
KServe's names: its `ModelServer`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple


class Effect(enum.Enum):
    """What a flag does."""

    WORKS = "it does what it says"
    ADAPTED = "its meaning is met in another way, which the note says"
    PLACED = "the platform decides it where it runs a replica; it works on a server that is started by hand"
    FETCHED = "the platform fetches what it names; a server that is started by hand does not start with it"
    NONE = "it is accepted and changes nothing; no answer depends on it"
    REFUSED = "the server does not start with it, since answers would differ from what it asks for"


class Flag(NamedTuple):
    """One flag.

    Attributes:
        effect: what it does.
        note: how or why, for people.
        takes_value: a word follows it, or stands after `=`.
    """

    effect: Effect
    note: str = ""
    takes_value: bool = True


_ADDRESS = "each replica gets an address and a model folder of its own; the gateway forwards to it"
_LOGGING = "logs are structured lines on stderr"
_TRANSFORMER = "for transformers and explainers of Python: how the predictor is called"
_ONE_LIMIT = "one limit for both ways, --max-message: the larger of the two"

_NO_HUB = "the server fetches no model by itself"
_TRAINED = "a tokenizer gives what its model was trained with; remove it"
_HUGGING_FACE = "for models of Hugging Face"
_HUGGING_FACE_SWITCHES = (
    "--disable-lower-case",
    "--disable-special-tokens",
    "--return-probabilities",
    "--return-raw-logits",
)

_TLS = "a replica behind the gateway speaks plain HTTP and gRPC; TLS ends at the gateway"

FLAGS: Mapping[str, Flag] = {
    "--model-name": Flag(Effect.WORKS),
    "--runtime": Flag(Effect.WORKS),
    "--framework": Flag(Effect.WORKS, "another name of --runtime"),
    "--enable-grpc": Flag(Effect.WORKS),
    "--multi-model": Flag(
        Effect.WORKS, "the models of a folder, by name; for TrainedModels the platform sets it", takes_value=False
    ),
    "--nthread": Flag(Effect.WORKS),
    "--trust-code": Flag(Effect.WORKS, takes_value=False),
    "--no-trust-code": Flag(Effect.WORKS, takes_value=False),
    "--max-body": Flag(Effect.WORKS),
    "--max-message": Flag(Effect.WORKS),
    "--max-queue": Flag(Effect.WORKS),
    "--max-queue-bytes": Flag(Effect.WORKS),
    "--queue-target": Flag(Effect.WORKS),
    "--execution": Flag(Effect.WORKS),
    "--instances": Flag(Effect.WORKS),
    "--max-batch-size": Flag(Effect.WORKS),
    "--max-batch-latency": Flag(Effect.WORKS),
    "--preferred-batch-sizes": Flag(Effect.WORKS),
    "--response-cache": Flag(Effect.WORKS),
    "--response-cache-ttl": Flag(Effect.WORKS),
    "--compile": Flag(Effect.WORKS),
    "--explainer": Flag(
        Effect.WORKS, "shap: `:explain` tells what each feature contributed; the model is not compiled"
    ),
    "--compile-cache": Flag(Effect.PLACED, "all replicas of a platform share one folder"),
    "--compile-report": Flag(Effect.PLACED, "each replica has a file of its own"),
    "--grace": Flag(Effect.WORKS),
    "--grpc-max-send-message-length": Flag(Effect.ADAPTED, _ONE_LIMIT),
    "--grpc-max-receive-message-length": Flag(Effect.ADAPTED, _ONE_LIMIT),
    "--model-dir": Flag(Effect.PLACED, _ADDRESS),
    "--host": Flag(Effect.PLACED, _ADDRESS),
    "--http-port": Flag(Effect.PLACED, _ADDRESS),
    "--socket": Flag(Effect.PLACED, _ADDRESS),
    "--grpc-port": Flag(Effect.PLACED, _ADDRESS),
    "--grpc-socket": Flag(Effect.PLACED, _ADDRESS),
    "--direct-port": Flag(Effect.PLACED, "the annotation colonnade.dev/direct gives a service its port"),
    "--termination-file": Flag(Effect.PLACED, "each replica has a file of its own"),
    "--workers": Flag(
        Effect.NONE, "one process per replica; raise minReplicas, or --instances with --execution process"
    ),
    "--max-threads": Flag(Effect.NONE, "gRPC needs no threads"),
    "--max-asyncio-workers": Flag(Effect.NONE, "each instance of a model has one worker thread"),
    "--enable-docs-url": Flag(Effect.NONE, "there is no page of documentation on a replica"),
    "--enable-latency-logging": Flag(Effect.NONE, "latencies are in /metrics"),
    "--configure-logging": Flag(Effect.NONE, _LOGGING),
    "--log-config-file": Flag(Effect.NONE, _LOGGING),
    "--access-log-format": Flag(Effect.NONE, _LOGGING),
    "--event-loop": Flag(Effect.NONE, "the event loop is always uvloop"),
    "--timeout-keep-alive": Flag(Effect.NONE, "idle connections have one fixed limit"),
    "--predictor-host": Flag(Effect.WORKS, _TRANSFORMER),
    "--predictor-protocol": Flag(Effect.WORKS, _TRANSFORMER),
    "--protocol": Flag(Effect.WORKS, "another name of --predictor-protocol"),
    "--predictor-use-ssl": Flag(Effect.WORKS, _TRANSFORMER),
    "--predictor-request-timeout-seconds": Flag(Effect.WORKS, _TRANSFORMER),
    "--predictor-request-retries": Flag(Effect.NONE, "the gateway asks another replica where that is safe"),
    "--enable-predictor-health-check": Flag(
        Effect.NONE, "a service is ready once all its components are", takes_value=False
    ),
    **{name: Flag(Effect.WORKS, _HUGGING_FACE) for name in ("--task", "--dtype", "--max-model-len", "--max-length")},
    **{name: Flag(Effect.WORKS, _HUGGING_FACE, takes_value=False) for name in _HUGGING_FACE_SWITCHES},
    "--backend": Flag(Effect.WORKS, f"{_HUGGING_FACE}: auto and huggingface; vllm has a runtime of its own"),
    "--trust-remote-code": Flag(Effect.ADAPTED, "another name of --trust-code", takes_value=False),
    "--disable-log-requests": Flag(Effect.NONE, "texts of requests are never logged", takes_value=False),
    "--model-id": Flag(Effect.FETCHED, f"{_NO_HUB}; say storageUri: hf://OWNER/NAME"),
    "--model-revision": Flag(Effect.FETCHED, f"{_NO_HUB}; say storageUri: hf://OWNER/NAME:REVISION"),
    "--tokenizer-revision": Flag(Effect.REFUSED, f"{_NO_HUB}; the tokenizer lies beside the model"),
    "--tensor-input-names": Flag(Effect.REFUSED, "it says what a predictor behind this server is sent; remove it"),
    "--return-token-type-ids": Flag(Effect.REFUSED, _TRAINED, takes_value=False),
    "--return-offsets-mapping": Flag(Effect.REFUSED, _TRAINED, takes_value=False),
    "--tls-cert": Flag(Effect.PLACED, _TLS),
    "--tls-key": Flag(Effect.PLACED, _TLS),
    "--ssl-certfile": Flag(Effect.REFUSED, f"{_TLS}; remove it"),
    "--ssl-keyfile": Flag(Effect.REFUSED, f"{_TLS}; remove it"),
}
"""Every flag that the model server knows, by its name with hyphens."""


ADAPTER: Mapping[str, bool] = {
    **dict.fromkeys(("--task", "--dtype", "--max-model-len", "--max-length", "--backend"), True),
    **dict.fromkeys(_HUGGING_FACE_SWITCHES, False),
}
"""Flags that the server hands to the adapter as they are, and whether a value follows them."""


ANNOTATIONS: Mapping[str, str] = {
    "colonnade.dev/execution": "--execution",
    "colonnade.dev/instances": "--instances",
    "colonnade.dev/max-batch-size": "--max-batch-size",
    "colonnade.dev/max-batch-latency": "--max-batch-latency",
    "colonnade.dev/preferred-batch-sizes": "--preferred-batch-sizes",
    "colonnade.dev/compile": "--compile",
    "colonnade.dev/explainer": "--explainer",
    "colonnade.dev/response-cache": "--response-cache",
    "colonnade.dev/response-cache-ttl": "--response-cache-ttl",
    "colonnade.dev/max-queue": "--max-queue",
    "colonnade.dev/max-queue-bytes": "--max-queue-bytes",
    "colonnade.dev/queue-target": "--queue-target",
}
"""Annotations of a service that its replicas get as flags; its `args`, which come later, win."""


def canonical(word: str) -> str:
    """A word of a command line with a flag's name in hyphens, `--model_name=a_b` as `--model-name=a_b`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value
