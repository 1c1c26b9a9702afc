"""What a command names: a kind and a name, a service, a namespace."""

from __future__ import annotations

import click

from colonnade.cli.api import Api, Object
from colonnade.cli.exits import CommandFailed
from colonnade.resources.kinds import INFERENCE_GRAPH, INFERENCE_SERVICE, KINDS, Kind

namespace_option = click.option("-n", "--namespace", default="default", show_default=True, help="Namespace.")


def kind_named(word: str) -> Kind:
    """The kind that a word on the command line means: plural, singular, short name or kind, in any case.

    Raises:
        CommandFailed: no kind of the API is called that.
    """
    wanted = word.lower().split(".", 1)[0]
    for kind in KINDS:
        if wanted in {kind.plural, kind.singular, kind.kind.lower(), *kind.short_names}:
            return kind
    known = ", ".join(sorted(kind.plural for kind in KINDS))
    raise CommandFailed(f"{word!r} is not a kind that is served here; these are: {known}")


def service_kind() -> Kind:
    """InferenceService, which commands that take a bare NAME are about."""
    return kind_named("inferenceservice")


def split_target(words: tuple[str, ...]) -> list[tuple[Kind, str | None]]:
    """`isvc`, `isvc,pods`, `isvc NAME…` and `isvc/NAME…` as (kind, name) pairs."""
    if all("/" in word for word in words):
        pairs = [word.split("/", 1) for word in words]
        return [(kind_named(kind), name) for kind, name in pairs]
    kinds = [kind_named(kind) for kind in words[0].split(",")]
    names: tuple[str | None, ...] = words[1:] or (None,)
    return [(kind, name) for kind in kinds for name in names]


def named(api: Api, kind: Kind, namespace: str, name: str) -> Object:
    """The object of that kind and name.

    Raises:
        CommandFailed: there is none; the message lists those that exist.
    """
    found = api.find(kind, namespace, name)
    if found is not None:
        return found
    others = sorted(item["metadata"]["name"] for item in api.list(kind, namespace))
    hint = f"; there are: {', '.join(others)}" if others else "; there are none in this namespace"
    raise CommandFailed(f"no {kind.kind} {name!r} in namespace {namespace!r}{hint}")


def service(api: Api, namespace: str, name: str) -> Object:
    """The InferenceService of that name. Raises as `named` does."""
    return named(api, INFERENCE_SERVICE, namespace, name)


def service_or_graph(api: Api, namespace: str, word: str) -> tuple[Kind, Object]:
    """What `NAME` means, which is a service's or else a graph's, or `isvc/NAME` or `ig/NAME`.

    Raises:
        CommandFailed: there is none.
    """
    before, slash, name = word.rpartition("/")
    if not slash:
        graph = api.find(INFERENCE_GRAPH, namespace, name)
        if graph is not None and api.find(INFERENCE_SERVICE, namespace, name) is None:
            return INFERENCE_GRAPH, graph
        return INFERENCE_SERVICE, service(api, namespace, name)
    kind = kind_named(before)
    if kind not in (INFERENCE_SERVICE, INFERENCE_GRAPH):
        raise CommandFailed(f"{word!r} is neither a service nor a graph: name one as `NAME` or `ig/NAME`")
    return kind, named(api, kind, namespace, name)


def pods_of(api: Api, namespace: str, name: str) -> list[Object]:
    """The pods of a service, newest first."""
    pods = api.list(kind_named("pod"), namespace, labelSelector=f"serving.kserve.io/inferenceservice={name}")
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
