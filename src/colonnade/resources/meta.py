"""What every object carries: metadata, conditions, and the rules for names and labels.

Grammars and texts: Kubernetes' `apimachinery/pkg/util/validation`, except the InferenceService's name, whose rule and
text are KServe's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from colonnade import defaults, flags
from colonnade.resources import knative
from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, NOT_RUN, RUNS, UNKNOWN, Resource, Ruling, field_doc

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN = rf"{DNS_LABEL}(\.{DNS_LABEL})*"
ISVC_NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{DNS_LABEL}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{DNS_SUBDOMAIN}')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
    f"regex used for validation is '{LABEL_VALUE}')"
)
_NAME_PART_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{NAME_PART}')"
)
_SET_BY_SERVER = "set by the API server; the value in a manifest is passed over"

DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_NO_SCRAPING = f"scraping is {NOT_RUN}; each replica answers /metrics"
_ANNOTATIONS: dict[str, Ruling] = {
    DEPLOYMENT_MODE: Ruling(EMULATED, "recorded; in every mode replicas are local processes"),
    AUTOSCALER_CLASS: Ruling(
        RUNS, "hpa, keda and none; external leaves minReplicas as the number, since nothing outside scales here"
    ),
    "serving.kserve.io/enable-tag-routing": Ruling(RUNS, '"true": `latest-` and `prev-` hosts reach their revision'),
    "serving.knative.dev/rollout-duration": Ruling(RUNS, "the traffic moves to a new revision evenly over so long"),
    "serving.kserve.io/stop": Ruling(RUNS, '"true" stops the replicas and keeps the object'),
    "serving.kserve.io/disable-auto-update": Ruling(
        RUNS, '"true": a change of its runtime alone makes no new revision'
    ),
    "serving.kserve.io/enable-prometheus-scraping": Ruling(CLUSTER_ONLY, _NO_SCRAPING),
    "serving.kserve.io/enable-metric-aggregation": Ruling(CLUSTER_ONLY, _NO_SCRAPING),
    "prometheus.kserve.io/port": Ruling(CLUSTER_ONLY, _NO_SCRAPING),
    "prometheus.kserve.io/path": Ruling(CLUSTER_ONLY, _NO_SCRAPING),
    "serving.kserve.io/storageSecretName": Ruling(RUNS, "the secret with the storage credentials"),
    **{
        f"serving.kserve.io/s3-{name}": Ruling(RUNS, "of a secret: how its storage is reached")
        for name in (
            "endpoint",
            "usehttps",
            "region",
            "verifyssl",
            "usevirtualbucket",
            "useaccelerate",
            "useanoncredential",
            "cabundle",
            "cabundle-configmap",
        )
    },
    LAST_APPLIED: Ruling(RUNS, "kubectl's own record"),
    defaults.TRUST_CODE: Ruling(RUNS, "consent to load model files that can run code"),
    defaults.REQUIREMENTS: Ruling(RUNS, "packages of a Python environment of its own, which uv makes; `none` for none"),
    "colonnade.dev/built-in": Ruling(RUNS, "marks a runtime that nobody has changed since it was built in"),
    "colonnade.dev/runs": Ruling(RUNS, "says of a built-in runtime what runs its formats on this machine"),
    defaults.MODEL_DIGEST: Ruling(RUNS, "what was fetched must have this digest, as `colonnade digest` prints it"),
    defaults.DIRECT: Ruling(RUNS, '"true" gives the service a port of its own, past the gateway'),
    defaults.GPU_SHARE: Ruling(RUNS, "a part of one GPU, such as 0.25: admitted by it, not held to it"),
    defaults.LOG_SAMPLE: Ruling(RUNS, "the share of requests that `logger` logs, 0 to 1"),
    defaults.LOG_REDACT: Ruling(RUNS, "JSON paths, names of headers and /patterns/ that `logger` blots out"),
    defaults.LOG_MAX_BYTES: Ruling(RUNS, "bytes of a body that `logger` keeps"),
    defaults.LOG_FAILURES: Ruling(RUNS, '"true": `logger` logs responses that are no success, too'),
    defaults.STICKY: Ruling(RUNS, "`header:NAME` or `cookie:NAME`: callers of one value stay with one revision"),
    defaults.SHADOW: Ruling(RUNS, "`NAME=PERCENT`: a variant, a revision or `latest` gets copies of the requests"),
    defaults.ANALYSIS: Ruling(RUNS, "`auto`, or JSON: a new revision is stepped up or rolled back by what it answers"),
    defaults.ROLLOUT_PAUSED: Ruling(RUNS, '"true": no traffic moves; `colonnade rollout pause` sets it'),
    defaults.ROLLOUT_PROMOTED: Ruling(RUNS, "the revision that gets all the traffic at once, by `rollout promote`"),
    defaults.STEP_TIMEOUT: Ruling(RUNS, "times that calls of a graph's steps may take: `2s, root/rank=500ms`"),
    defaults.STEP_RETRIES: Ruling(RUNS, "retries of a graph's steps: `1, root/rank=2`"),
    defaults.ANNOTATION_SLOW_START: Ruling(RUNS, "seconds until a replica that joins others gets its full share"),
    defaults.ANNOTATION_EJECT_AFTER: Ruling(RUNS, "failures in a row after which a replica gets no requests"),
    defaults.ANNOTATION_MAX_EJECTED: Ruling(RUNS, "percent of the replicas that may be without requests for that"),
    defaults.ANNOTATION_RETRY_PERCENT: Ruling(RUNS, "retries per 100 requests"),
    defaults.ANNOTATION_BREAKER: Ruling(RUNS, "failures in a row after which the service is refused at once"),
    **{name: Ruling(RUNS, f"{flag} of its replicas") for name, flag in flags.ANNOTATIONS.items()},
}
_CLUSTER_PREFIXES = (
    "serving.kserve.io/",
    "storage.kserve.io/",
    "prometheus.kserve.io/",
    "serving.knative.dev/",
    "networking.knative.dev/",
    "networking.kserve.io/",
    "features.knative.dev/",
    "queue.sidecar.serving.knative.dev/",
    "sidecar.istio.io/",
)


def own_annotations() -> dict[str, str]:
    """The annotations that this product adds to KServe's, each with what it does."""
    return {name: ruling.note for name, ruling in _ANNOTATIONS.items() if name.startswith("colonnade.dev/")}


def annotation(_: Any, entry: Mapping[str, Any]) -> Ruling:
    """What this version does with an annotation, by its key."""
    key = str(entry["key"])
    if key in _ANNOTATIONS:
        return _ANNOTATIONS[key]
    if key.startswith("colonnade.dev/"):
        near = difflib.get_close_matches(key, own_annotations(), 1, 0.5)
        return Ruling(UNKNOWN, f"no such annotation{f'; did you mean {near[0]}?' if near else ''}")
    if key.startswith(knative.PREFIX):
        return knative.ruling(key)
    if key.startswith(_CLUSTER_PREFIXES):
        return Ruling(CLUSTER_ONLY, NOT_RUN)
    return Ruling(RUNS, "kept")


class OwnerReference(Resource, frozen=True):
    """The object that another one belongs to."""

    api_version: Annotated[str, field_doc("API version of the owner.")]
    kind: Annotated[str, field_doc("Kind of the owner.")]
    name: Annotated[str, field_doc("Name of the owner.")]
    uid: Annotated[str, field_doc("UID of the owner.")]
    controller: Annotated[bool | None, field_doc("Whether the owner controls the object.")] = None
    block_owner_deletion: Annotated[bool | None, field_doc("Whether the owner waits for the object's deletion.")] = None


class ObjectMeta(Resource, frozen=True):
    """Name, namespace, labels and what the API server records of an object."""

    name: Annotated[str | None, field_doc("Name, unique in the namespace and kind. It cannot be changed.", RUNS)] = None
    generate_name: Annotated[
        str | None, field_doc("Prefix from which the server makes a unique name, if no name is given.", RUNS)
    ] = None
    namespace: Annotated[str | None, field_doc("Namespace of the object; `default` if not given.", RUNS)] = None
    labels: Annotated[dict[str, str] | None, field_doc("Keys and values to select objects by.", RUNS)] = None
    annotations: Annotated[
        dict[str, str] | None, field_doc("Keys and values that tools keep with the object.", rule=annotation)
    ] = None
    finalizers: Annotated[
        list[str] | None, field_doc("What must happen before the object is removed.", CLUSTER_ONLY, NOT_RUN)
    ] = None
    owner_references: Annotated[
        list[OwnerReference] | None,
        field_doc("Objects that this one belongs to.", EMULATED, "kept; nothing is collected by it"),
    ] = None
    uid: Annotated[str | None, field_doc("Unique id of the object over all time.", EMULATED, _SET_BY_SERVER)] = None
    resource_version: Annotated[
        str | None, field_doc("Version of the object; a write with a stale one is refused.", RUNS)
    ] = None
    generation: Annotated[Int64 | None, field_doc("Counts changes of the desired state.", EMULATED, _SET_BY_SERVER)] = (
        None
    )
    creation_timestamp: Annotated[str | None, field_doc("When it was created.", EMULATED, _SET_BY_SERVER)] = None
    deletion_timestamp: Annotated[str | None, field_doc("When it will be gone.", EMULATED, _SET_BY_SERVER)] = None
    deletion_grace_period_seconds: Annotated[
        Int64 | None, field_doc("Seconds granted to end cleanly.", EMULATED, _SET_BY_SERVER)
    ] = None
    managed_fields: Annotated[
        list[dict[str, Any]] | None, field_doc("Which client wrote which field.", EMULATED, _SET_BY_SERVER)
    ] = None
    self_link: Annotated[str | None, field_doc("No longer used by Kubernetes.", EMULATED, _SET_BY_SERVER)] = None


class Condition(Resource, frozen=True):
    """One observation about an object, such as Ready."""

    type: Annotated[str, field_doc("Name of the condition.")]
    status: Annotated[str, field_doc("`True`, `False` or `Unknown`.")]
    reason: Annotated[str | None, field_doc("CamelCase cause, for machines.")] = None
    message: Annotated[str | None, field_doc("Cause, for people.")] = None
    severity: Annotated[str | None, field_doc("How to read a False: empty is an error, or `Warning`, `Info`.")] = None
    last_transition_time: Annotated[str | None, field_doc("When the status last changed.")] = None


def isvc_name_failure(name: str) -> str | None:
    """KServe's text for a name that no InferenceService can have, or None."""
    if re.fullmatch(ISVC_NAME, name):
        return None
    return (
        f'the InferenceService "{name}" is invalid: a InferenceService name must consist of lower case alphanumeric '
        'characters or \'-\', and must start with alphabetical character. (e.g. "my-name" or "abc-123", '
        f"regex used for validation is '{ISVC_NAME}')"
    )


def label_failure(name: str) -> str | None:
    """Why a name is no DNS label (namespaces), or None."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    return None if re.fullmatch(DNS_LABEL, name) else _LABEL_TEXT


def subdomain_failure(name: str) -> str | None:
    """Why a name is no DNS subdomain (most kinds), or None."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    return None if re.fullmatch(DNS_SUBDOMAIN, name) else _SUBDOMAIN_TEXT


def key_failure(key: str) -> str | None:
    """Why a key is not one that labels and annotations take (`[prefix/]name`), or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and (failure := subdomain_failure(prefix)):
        return f"prefix part {failure}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    return None if re.fullmatch(NAME_PART, name) else _NAME_PART_TEXT


def label_value_failure(value: str) -> str | None:
    """Why a value is not one that labels take, or None."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    return None if re.fullmatch(LABEL_VALUE, value) else _LABEL_VALUE_TEXT


def metadata_failures(meta: ObjectMeta) -> Iterator[tuple[str, str]]:
    """`(field path, message)` of each broken rule that holds for every kind; the rule on the name is the kind's own."""
    if meta.namespace and (failure := label_failure(meta.namespace)):
        yield "metadata.namespace", f'Invalid value: "{meta.namespace}": {failure}'
    for key, value in (meta.labels or {}).items():
        if failure := key_failure(key) or label_value_failure(value):
            yield "metadata.labels", f'Invalid value: "{key}: {value}": {failure}'
    for key in meta.annotations or {}:
        if failure := key_failure(key.lower()):
            yield "metadata.annotations", f'Invalid value: "{key}": {failure}'
