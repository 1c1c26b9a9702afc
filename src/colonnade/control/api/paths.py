"""What a path of the API names. Pure: text in, target out."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from colonnade.control.objects import Ref
from colonnade.errors import InvalidInput, NotFound
from colonnade.resources.kinds import Kind, by_plural

UNKNOWN_PATH = "the server could not find the requested resource"  # kubectl and client-go look for this text


@dataclass(frozen=True, slots=True)
class Target:
    """A collection (`name` is None) or one object of a kind, or a subresource of one.

    `namespace` is None for all namespaces and for kinds that are cluster-scoped.
    """

    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str = ""

    def ref(self, name: str | None = None) -> Ref:
        """Where the named object (or `self.name`) lies in the store."""
        return Ref(self.kind.group, self.kind.plural, self.namespace or "", name or self.name or "")


def segments(path: str) -> tuple[str, ...]:
    """The parts of a path, percent-decoded. Raises InvalidInput on what is no UTF-8 or no name."""
    try:
        parts = tuple(unquote(part, errors="strict") for part in path.strip("/").split("/"))
    except UnicodeDecodeError:
        raise InvalidInput("the path is not percent-encoded UTF-8") from None
    for part in parts:
        if "/" in part or not part.isprintable() or part in (".", ".."):
            raise InvalidInput(f"{part[:80]!r} cannot be a part of a path")
    return parts


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query; of a repeated one the first counts, as in Kubernetes."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:  # UnicodeDecodeError is one
        raise InvalidInput("the query is not percent-encoded UTF-8, or has more than 100 parameters") from None
    return dict(reversed(pairs))


def target(parts: tuple[str, ...]) -> Target:
    """The target of a path below `/api/v1` or `/apis/{group}/{version}`. Raises NotFound."""
    match parts:
        case ("api", version, *rest):
            group = ""
        case ("apis", group, version, *rest):
            pass
        case _:
            raise NotFound(UNKNOWN_PATH)
    namespace = None
    if len(rest) >= 3 and rest[0] == "namespaces" and (group or rest[2] not in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3 or not all(rest):
        raise NotFound(UNKNOWN_PATH)
    kind = by_plural(group, version, rest[0])
    if kind is None or (namespace is not None and not kind.namespaced):
        raise NotFound(UNKNOWN_PATH)
    found = Target(kind, namespace, *rest[1:])
    if found.name is not None and kind.namespaced and namespace is None:
        raise NotFound(UNKNOWN_PATH)
    return found
