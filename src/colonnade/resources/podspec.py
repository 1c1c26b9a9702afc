"""The pod fields that KServe takes inside predictor, transformer and explainer.

What an InferenceService's author writes often is typed here; the deep parts that only a cluster gives a meaning
(affinity, volumes' sources, security contexts) are free-form objects: kept, passed on, never flagged as unknown.
Field names and meaning: Kubernetes core/v1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from colonnade.resources import compute, served
from colonnade.resources.fields import (
    CLUSTER_ONLY,
    EMULATED,
    NO_CONTAINER,
    NOT_RUN,
    ONE_MACHINE,
    RUNS,
    Resource,
    field_doc,
)
from colonnade.resources.meta import Int32, Int64

FreeObject = dict[str, Any]
IntOrString = int | str
Quantity = int | float | str

_PORT_NOTE = "a free local address is given to each replica; the gateway forwards to it"
_NO_CLASSES = "there are no priority classes here; use `priority`"
_REFUSED = f"{NOT_RUN}: the service is refused with it"
_IDENTITY = "recorded; there are no identities of a cluster here"
_STARTUP_NOTE = "liveness is not asked before the replica has been ready"


class KeySelector(Resource, frozen=True):
    """One value of a Secret or a ConfigMap of the same namespace."""

    name: Annotated[str, field_doc("Name of the object.", RUNS)]
    key: Annotated[str, field_doc("Key of the value.", RUNS)]
    optional: Annotated[bool | None, field_doc("Whether it may be missing.", RUNS)] = None


class FieldSelector(Resource, frozen=True):
    """A field of the pod."""

    field_path: Annotated[str, field_doc("The field, such as `metadata.name`.", RUNS)]
    api_version: Annotated[str | None, field_doc("Version of the pod's schema.", RUNS)] = None


class EnvVarSource(Resource, frozen=True):
    """Where a variable's value comes from; one field is set."""

    secret_key_ref: Annotated[KeySelector | None, field_doc("A value of a Secret.")] = None
    config_map_key_ref: Annotated[KeySelector | None, field_doc("A value of a ConfigMap.")] = None
    field_ref: Annotated[FieldSelector | None, field_doc("A field of the pod.")] = None
    resource_field_ref: Annotated[FreeObject | None, field_doc("An amount of compute.", CLUSTER_ONLY, _REFUSED)] = None
    file_key_ref: Annotated[FreeObject | None, field_doc("A value of a file.", CLUSTER_ONLY, _REFUSED)] = None


class ObjectSelector(Resource, frozen=True):
    """All values of a Secret or a ConfigMap of the same namespace."""

    name: Annotated[str, field_doc("Name of the object.", RUNS)]
    optional: Annotated[bool | None, field_doc("Whether it may be missing.", RUNS)] = None


class EnvFromSource(Resource, frozen=True):
    """Variables from all values of an object; one reference is set."""

    secret_ref: Annotated[ObjectSelector | None, field_doc("A Secret.")] = None
    config_map_ref: Annotated[ObjectSelector | None, field_doc("A ConfigMap.")] = None
    prefix: Annotated[str | None, field_doc("What each variable's name begins with.", RUNS)] = None


class EnvVar(Resource, frozen=True):
    """An environment variable of the replica."""

    name: Annotated[str, field_doc("Name of the variable.", RUNS)]
    value: Annotated[str | None, field_doc("Value; `$(OTHER)` is replaced by another variable's value.", RUNS)] = None
    value_from: Annotated[
        EnvVarSource | None, field_doc("Source of the value: a secret, a config map or a field of the pod.")
    ] = None


class HTTPHeader(Resource, frozen=True):
    """A header of a probe's request."""

    name: Annotated[str, field_doc("Name of the header.")]
    value: Annotated[str, field_doc("Value of the header.")]


class HTTPGetAction(Resource, frozen=True):
    """An HTTP request that succeeds with a status from 200 to 399."""

    path: Annotated[str | None, field_doc("Path to ask.", RUNS)] = None
    port: Annotated[IntOrString | None, field_doc("Port to ask.", EMULATED, "the replica's own address is asked")] = (
        None
    )
    host: Annotated[str | None, field_doc("Host to ask.", EMULATED, "the replica's own address is asked")] = None
    scheme: Annotated[str | None, field_doc("`HTTP` or `HTTPS`.", CLUSTER_ONLY, "replicas are asked over HTTP")] = None
    http_headers: Annotated[list[HTTPHeader] | None, field_doc("Headers of the request.", CLUSTER_ONLY, NOT_RUN)] = None


class ExecAction(Resource, frozen=True):
    """A command that succeeds with exit status 0."""

    command: Annotated[list[str] | None, field_doc("The command and its arguments.", RUNS)] = None


class Probe(Resource, frozen=True):
    """How to learn whether a container is alive or ready."""

    http_get: Annotated[HTTPGetAction | None, field_doc("Ask over HTTP.", RUNS)] = None
    exec: Annotated[ExecAction | None, field_doc("Run a command.", RUNS)] = None
    tcp_socket: Annotated[
        FreeObject | None,
        field_doc("Open a TCP connection.", EMULATED, "built-in runtimes are asked for their health endpoint instead"),
    ] = None
    grpc: Annotated[FreeObject | None, field_doc("Ask gRPC's health service.", CLUSTER_ONLY, _REFUSED)] = None
    initial_delay_seconds: Annotated[Int32 | None, field_doc("Seconds before the first probe.", RUNS)] = None
    period_seconds: Annotated[
        Int32 | None,
        field_doc("Seconds between probes.", EMULATED, "readiness is asked often at the start, rarely later"),
    ] = None
    timeout_seconds: Annotated[Int32 | None, field_doc("Seconds until a probe fails.", RUNS)] = None
    success_threshold: Annotated[
        Int32 | None, field_doc("Successes in a row that count as success.", EMULATED, "one success counts")
    ] = None
    failure_threshold: Annotated[Int32 | None, field_doc("Failures in a row that count as failure.", RUNS)] = None
    termination_grace_period_seconds: Annotated[
        Int64 | None, field_doc("Grace period after a failed probe.", CLUSTER_ONLY, NOT_RUN)
    ] = None


class ContainerPort(Resource, frozen=True):
    """A port that the container listens on."""

    container_port: Annotated[Int32, field_doc("Number of the port.", EMULATED, _PORT_NOTE)]
    name: Annotated[
        str | None,
        field_doc("Name; `h2c` says that it speaks gRPC.", EMULATED, "h2c, grpc or http2: PORT is asked for gRPC"),
    ] = None
    protocol: Annotated[str | None, field_doc("`TCP`, `UDP` or `SCTP`.", EMULATED, _PORT_NOTE)] = None
    host_port: Annotated[Int32 | None, field_doc("Port on the node.", CLUSTER_ONLY, _PORT_NOTE)] = None
    host_ip: Annotated[str | None, field_doc("Address on the node.", CLUSTER_ONLY, _PORT_NOTE)] = msgspec.field(
        default=None, name="hostIP"
    )


class ResourceClaim(Resource, frozen=True):
    """A device claimed by name."""

    name: Annotated[str, field_doc("Name of an entry of `resourceClaims`.")]
    request: Annotated[str | None, field_doc("Request inside the claim.")] = None


class ResourceRequirements(Resource, frozen=True):
    """Compute that a container asks for and may use at most."""

    requests: Annotated[dict[str, Quantity] | None, field_doc("Least amounts.", rule=compute.request)] = None
    limits: Annotated[dict[str, Quantity] | None, field_doc("Greatest amounts.", rule=compute.limit)] = None
    claims: Annotated[list[ResourceClaim] | None, field_doc("Devices by claim.", CLUSTER_ONLY, NOT_RUN)] = None


class VolumeMount(Resource, frozen=True):
    """Where a volume appears in the container."""

    name: Annotated[str, field_doc("Name of an entry of `volumes`.")]
    mount_path: Annotated[str, field_doc("Path in the container.")]
    sub_path: Annotated[str | None, field_doc("Path in the volume.")] = None
    sub_path_expr: Annotated[str | None, field_doc("Path in the volume, with variables.")] = None
    read_only: Annotated[bool | None, field_doc("Whether writes are refused.")] = None
    recursive_read_only: Annotated[str | None, field_doc("Whether mounts below are read-only too.")] = None
    mount_propagation: Annotated[str | None, field_doc("How mounts spread to and from the node.")] = None


class Container(Resource, frozen=True):
    """A container: an image or a command, its arguments, environment, ports and probes."""

    name: Annotated[str | None, field_doc("Name; the one that serves is `kserve-container`.", RUNS)] = None
    image: Annotated[str | None, field_doc("Image to run.", rule=served.image)] = None
    command: Annotated[
        list[str] | None, field_doc("Program to run and its first arguments.", RUNS, "as a local process")
    ] = None
    args: Annotated[list[str] | None, field_doc("Further arguments.", rule=served.argument)] = None
    working_dir: Annotated[str | None, field_doc("Folder to run in.", RUNS)] = None
    env: Annotated[list[EnvVar] | None, field_doc("Environment variables.")] = None
    env_from: Annotated[list[EnvFromSource] | None, field_doc("Variables from config maps and secrets.")] = None
    ports: Annotated[list[ContainerPort] | None, field_doc("Ports that are listened on.")] = None
    resources: Annotated[ResourceRequirements | None, field_doc("Compute asked for.")] = None
    readiness_probe: Annotated[Probe | None, field_doc("When the container may get requests.")] = None
    liveness_probe: Annotated[Probe | None, field_doc("When the container must be restarted.")] = None
    startup_probe: Annotated[Probe | None, field_doc("When the container has started.", EMULATED, _STARTUP_NOTE)] = None
    image_pull_policy: Annotated[str | None, field_doc("When to pull.", CLUSTER_ONLY, NO_CONTAINER)] = None
    security_context: Annotated[FreeObject | None, field_doc("Privileges.", CLUSTER_ONLY, NO_CONTAINER)] = None
    volume_mounts: Annotated[list[VolumeMount] | None, field_doc("Volumes to mount.", CLUSTER_ONLY, NO_CONTAINER)] = (
        None
    )
    volume_devices: Annotated[
        list[FreeObject] | None, field_doc("Block devices to attach.", CLUSTER_ONLY, NO_CONTAINER)
    ] = None
    lifecycle: Annotated[FreeObject | None, field_doc("Hooks at start and stop.", CLUSTER_ONLY, NOT_RUN)] = None
    resize_policy: Annotated[
        list[FreeObject] | None, field_doc("How to change resources in place.", CLUSTER_ONLY, NO_CONTAINER)
    ] = None
    restart_policy: Annotated[
        str | None, field_doc("When to restart.", EMULATED, "a replica that exits is restarted with back-off")
    ] = None
    restart_policy_rules: Annotated[
        list[FreeObject] | None, field_doc("Restart by exit code.", CLUSTER_ONLY, NOT_RUN)
    ] = None
    termination_message_path: Annotated[
        str | None, field_doc("File with the last words.", CLUSTER_ONLY, "each replica has a file of its own")
    ] = None
    termination_message_policy: Annotated[
        str | None, field_doc("Where the last words come from.", EMULATED, "the end of the replica's log is shown")
    ] = None
    stdin: Annotated[bool | None, field_doc("Whether stdin stays open.", CLUSTER_ONLY, NO_CONTAINER)] = None
    stdin_once: Annotated[bool | None, field_doc("Whether stdin closes once.", CLUSTER_ONLY, NO_CONTAINER)] = None
    tty: Annotated[bool | None, field_doc("Whether there is a terminal.", CLUSTER_ONLY, NO_CONTAINER)] = None


class LocalObjectReference(Resource, frozen=True):
    """An object of the same namespace by its name."""

    name: Annotated[str | None, field_doc("Name of the object.")] = None


class Toleration(Resource, frozen=True):
    """A taint that the pod puts up with."""

    key: Annotated[str | None, field_doc("Key of the taint.")] = None
    operator: Annotated[str | None, field_doc("`Exists` or `Equal`.")] = None
    value: Annotated[str | None, field_doc("Value of the taint.")] = None
    effect: Annotated[str | None, field_doc("Effect of the taint.")] = None
    toleration_seconds: Annotated[Int64 | None, field_doc("For how long.")] = None


class PodSpec(Resource, frozen=True):
    """The pod's fields, inlined in each component."""

    containers: Annotated[
        list[Container] | None,
        field_doc(
            "Containers of a custom component; the one that serves is `kserve-container`.", rule=served.container
        ),
    ] = None
    init_containers: Annotated[
        list[Container] | None, field_doc("Containers that run first.", CLUSTER_ONLY, _REFUSED)
    ] = None
    ephemeral_containers: Annotated[
        list[FreeObject] | None, field_doc("Containers for debugging.", CLUSTER_ONLY, NO_CONTAINER)
    ] = None
    volumes: Annotated[list[FreeObject] | None, field_doc("Volumes to mount.", CLUSTER_ONLY, NO_CONTAINER)] = None
    resources: Annotated[ResourceRequirements | None, field_doc("Compute of the whole pod.")] = None
    service_account_name: Annotated[
        str | None,
        field_doc(
            "Identity in the cluster; storage credentials are taken from it.",
            EMULATED,
            "its secrets are the credentials of the model's fetch; replicas get no identity",
        ),
    ] = None
    service_account: Annotated[str | None, field_doc("Old name of serviceAccountName.", CLUSTER_ONLY, _IDENTITY)] = None
    automount_service_account_token: Annotated[
        bool | None, field_doc("Whether a token is mounted.", CLUSTER_ONLY, "there is no cluster identity to mount")
    ] = None
    image_pull_secrets: Annotated[
        list[LocalObjectReference] | None, field_doc("Credentials for images.", CLUSTER_ONLY, NO_CONTAINER)
    ] = None
    node_selector: Annotated[
        dict[str, str] | None, field_doc("Labels of nodes that fit.", CLUSTER_ONLY, ONE_MACHINE)
    ] = None
    node_name: Annotated[str | None, field_doc("The node to run on.", CLUSTER_ONLY, ONE_MACHINE)] = None
    affinity: Annotated[FreeObject | None, field_doc("Placement rules.", CLUSTER_ONLY, ONE_MACHINE)] = None
    tolerations: Annotated[
        list[Toleration] | None, field_doc("Taints to put up with.", EMULATED, "one machine without taints: always met")
    ] = None
    topology_spread_constraints: Annotated[
        list[FreeObject] | None, field_doc("How to spread pods.", CLUSTER_ONLY, ONE_MACHINE)
    ] = None
    scheduler_name: Annotated[str | None, field_doc("The scheduler to use.", CLUSTER_ONLY, ONE_MACHINE)] = None
    scheduling_gates: Annotated[
        list[FreeObject] | None, field_doc("What holds scheduling back.", CLUSTER_ONLY, ONE_MACHINE)
    ] = None
    scheduling_group: Annotated[
        FreeObject | None, field_doc("Pods to schedule together.", CLUSTER_ONLY, ONE_MACHINE)
    ] = None
    priority: Annotated[Int32 | None, field_doc("Priority as a number: the order of those who wait.", RUNS)] = None
    priority_class_name: Annotated[str | None, field_doc("Priority by name.", CLUSTER_ONLY, _NO_CLASSES)] = None
    preemption_policy: Annotated[str | None, field_doc("Whether others are pushed out.", CLUSTER_ONLY, ONE_MACHINE)] = (
        None
    )
    runtime_class_name: Annotated[str | None, field_doc("Container runtime to use.", CLUSTER_ONLY, NO_CONTAINER)] = None
    overhead: Annotated[
        dict[str, Quantity] | None, field_doc("Cost of the pod itself.", CLUSTER_ONLY, NO_CONTAINER)
    ] = None
    os: Annotated[FreeObject | None, field_doc("Operating system of the pod.", CLUSTER_ONLY, NO_CONTAINER)] = None
    resource_claims: Annotated[list[FreeObject] | None, field_doc("Devices by claim.", CLUSTER_ONLY, NOT_RUN)] = None
    readiness_gates: Annotated[
        list[FreeObject] | None, field_doc("Further conditions of readiness.", CLUSTER_ONLY, NOT_RUN)
    ] = None
    restart_policy: Annotated[
        Literal["Always", "OnFailure", "Never"] | None,
        field_doc("When to restart.", EMULATED, "a replica that exits is restarted with back-off"),
    ] = None
    termination_grace_period_seconds: Annotated[Int64 | None, field_doc("Seconds from SIGTERM to SIGKILL.", RUNS)] = (
        None
    )
    active_deadline_seconds: Annotated[
        Int64 | None, field_doc("Seconds that the pod may live.", CLUSTER_ONLY, NOT_RUN)
    ] = None
    security_context: Annotated[FreeObject | None, field_doc("Privileges.", CLUSTER_ONLY, NO_CONTAINER)] = None
    dns_policy: Annotated[str | None, field_doc("How names resolve.", CLUSTER_ONLY, NO_CONTAINER)] = None
    dns_config: Annotated[FreeObject | None, field_doc("How names resolve.", CLUSTER_ONLY, NO_CONTAINER)] = None
    enable_service_links: Annotated[
        bool | None, field_doc("Whether services appear in the environment.", CLUSTER_ONLY, NOT_RUN)
    ] = None
    host_aliases: Annotated[
        list[FreeObject] | None, field_doc("Entries of the hosts file.", CLUSTER_ONLY, NO_CONTAINER)
    ] = None
    host_ipc: Annotated[bool | None, field_doc("Use the node's IPC.", EMULATED, NO_CONTAINER)] = msgspec.field(
        default=None, name="hostIPC"
    )
    host_network: Annotated[bool | None, field_doc("Use the node's network.", EMULATED, NO_CONTAINER)] = None
    host_pid: Annotated[bool | None, field_doc("Use the node's processes.", EMULATED, NO_CONTAINER)] = msgspec.field(
        default=None, name="hostPID"
    )
    host_users: Annotated[bool | None, field_doc("Use the node's users.", EMULATED, NO_CONTAINER)] = None
    hostname: Annotated[str | None, field_doc("Hostname of the pod.", CLUSTER_ONLY, NO_CONTAINER)] = None
    hostname_override: Annotated[str | None, field_doc("Hostname, in full.", CLUSTER_ONLY, NO_CONTAINER)] = None
    set_hostname_as_fqdn: Annotated[
        bool | None, field_doc("Use the full name as hostname.", CLUSTER_ONLY, NO_CONTAINER)
    ] = msgspec.field(default=None, name="setHostnameAsFQDN")
    subdomain: Annotated[str | None, field_doc("Subdomain of the pod.", CLUSTER_ONLY, NO_CONTAINER)] = None
    share_process_namespace: Annotated[
        bool | None, field_doc("Whether containers see each other's processes.", EMULATED, NO_CONTAINER)
    ] = None
