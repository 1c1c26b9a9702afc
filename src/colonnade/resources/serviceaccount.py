"""ServiceAccount, as far as a fetch needs it: a name for the secrets that a service may use."""

from __future__ import annotations

from typing import Annotated

from colonnade.resources.fields import CLUSTER_ONLY, RUNS, Resource, field_doc
from colonnade.resources.meta import ObjectMeta

_USED = "their keys and annotations become the credentials of fetches, and of nothing else"


class SecretReference(Resource, frozen=True):
    """Names a secret."""

    name: Annotated[str | None, field_doc("Name of a secret in the same namespace.")] = None
    namespace: Annotated[str | None, field_doc("Unused.", CLUSTER_ONLY, "always the account's own namespace")] = None
    api_version: Annotated[str | None, field_doc("Unused.")] = None
    kind: Annotated[str | None, field_doc("Unused.")] = None
    uid: Annotated[str | None, field_doc("Unused.")] = None
    resource_version: Annotated[str | None, field_doc("Unused.")] = None
    field_path: Annotated[str | None, field_doc("Unused.")] = None


class ServiceAccount(Resource, frozen=True):
    """An identity of services, by which they get credentials for their models."""

    metadata: Annotated[ObjectMeta, field_doc("Name, namespace, labels and annotations.")]
    secrets: Annotated[list[SecretReference] | None, field_doc("Secrets that it may use.", RUNS, _USED)] = None
    image_pull_secrets: Annotated[
        list[SecretReference] | None, field_doc("Secrets for registries.", RUNS, "used where a model is `oci://`")
    ] = None
    automount_service_account_token: Annotated[
        bool | None, field_doc("Whether pods get a token.", CLUSTER_ONLY, "replicas get no token of the API")
    ] = None
    api_version: Annotated[str, field_doc("Version of the schema.", RUNS)] = "v1"
    kind: Annotated[str, field_doc("Kind of the object.", RUNS)] = "ServiceAccount"
