"""Writes the reference pages that restate code: the command line, the manifest fields, the limits.

`python docs/generate.py` rewrites them; `--check` only says which are out of date (the tests do that).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import compatibility

from colonnade import defaults
from colonnade.cli.main import COMMANDS, main
from colonnade.control.rollouts import shadowing
from colonnade.control.services import status
from colonnade.control.workload import ports
from colonnade.resources import kinds, meta
from colonnade.resources.shape import Entries, Free, Listing, Record, Shape, shape_of

REFERENCE = Path(__file__).parent / "reference"
SOURCE = Path(__file__).parent.parent / "src" / "colonnade"
DEPTH = 5  # of manifest fields; what lies deeper is Kubernetes' own and follows the field above it


def command_line() -> str:
    context = click.Context(main, info_name="colonnade")
    lines = [
        "# Command line",
        "",
        "Written by `docs/generate.py` from the commands themselves.",
        "",
        "Exit codes: 0 done; 1 refused, not found, unknown fields, an answer that is not a success; 2 wrong usage; "
        "3 no platform answers; 4 the service exists and is not Ready; 130 Ctrl-C.",
        "",
        "## colonnade",
        "",
        *_options(main, context),
    ]
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        lines += _command(command, name)
    return "\n".join(lines).rstrip() + "\n"


def _command(command: click.Command, name: str) -> Iterator[str]:
    """A command's section; those of its own commands follow."""
    inner = click.Context(command, info_name=f"colonnade {name}")
    usage = " ".join([f"colonnade {name}", *command.collect_usage_pieces(inner)])
    yield from (f"## {name}", "", f"`{usage}`", "", (command.help or "").strip(), "", *_options(command, inner))
    for below, found in command.commands.items() if isinstance(command, click.Group) else ():
        yield from _command(found, f"{name} {below}")


def _options(command: click.Command, context: click.Context) -> list[str]:
    rows = [record for item in command.get_params(context) if (record := item.get_help_record(context))]
    cells = [(left.replace("|", "\\|"), right.replace("|", "\\|")) for left, right in rows]
    return ["| option | |", "|---|---|", *(f"| `{left}` | {right} |" for left, right in cells), ""]


def manifests() -> str:
    lines = [
        "# Manifests",
        "",
        "Written by `docs/generate.py` from the declarations of the fields. `colonnade check -f` says the same of a "
        "manifest of yours, value by value; `kubectl explain isvc.spec` shows the descriptions.",
        "",
        "| verdict | meaning |",
        "|---|---|",
        "| runs | this version does what KServe does |",
        "| emulated | the intent is met in another way; the note says how |",
        "| cluster-only | kept and handed on, with no effect here; the note says why |",
        "| by value | the value decides; `check` says |",
        "",
    ]
    for kind in kinds.KINDS:
        lines += [f"## {kind.kind} ({kind.api_version})", "", "| field | verdict | note |", "|---|---|---|"]
        lines += [f"| `{path}` | {verdict} | {note} |" for path, verdict, note in _fields(shape_of(kind.struct), "", 0)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _fields(shape: Shape, path: str, depth: int) -> Iterator[tuple[str, str, str]]:
    match shape:
        case Record():
            for name, field in shape.properties.items():
                below = f"{path}.{name}" if path else name
                if below == "status":
                    continue
                if field.ruling is not None:
                    yield below, field.ruling.verdict, field.ruling.note.replace("|", "\\|")
                elif field.rule is not None and (depth >= DEPTH or not _has_fields(field.shape)):
                    yield below, "by value", ""
                elif depth < DEPTH:
                    yield from _fields(field.shape, below, depth + 1)
        case Listing():
            yield from _fields(shape.item, f"{path}[]", depth)
        case Entries():
            yield f"{path}.*", "by value", ""
        case Free():
            yield path, "by value", ""
        case _:
            pass


def _has_fields(shape: Shape) -> bool:
    return isinstance(shape.item if isinstance(shape, Listing) else shape, Record)


def limits() -> str:
    lines = [
        "# Limits and files",
        "",
        "Written by `docs/generate.py` from `colonnade/defaults.py`. Sizes in bytes, times in seconds.",
        "",
        "| name | value | |",
        "|---|---|---|",
    ]
    for line in (SOURCE / "defaults.py").read_text().splitlines():
        if found := re.match(r"([A-Z][A-Z0-9_]*) = [^#]*(?:# (.*))?$", line):
            lines.append(f"| `{found[1]}` | {getattr(defaults, found[1])} | {found[2] or ''} |")
    lines += ["", "## Annotations of an InferenceService", "", "| annotation | |", "|---|---|"]
    lines += [f"| `{name}` | {note} |" for name, note in meta.own_annotations().items()]
    lines += ["", "## Annotations of its status", "", "| annotation | |", "|---|---|"]
    lines += [f"| `{name}` | {note} |" for name, note in STATUS_ANNOTATIONS.items()]
    return "\n".join([*lines, "", *FILES]) + "\n"


STATUS_ANNOTATIONS = {
    ports.URL_ANNOTATION: f"where a service with `{defaults.DIRECT}` is reached past the gateway, on loopback",
    shadowing.RECORD: "the shadow of the service, and how its answers compared so far",
    status.COMPILED_ANNOTATION: "whether the model is served by a compiled form, in one line, or why it is not",
}


FILES = [
    "## The state folder",
    "",
    "Everything that outlives a process lies in one folder: `--state-dir`, else `$COLONNADE_STATE_DIR`, else "
    "`colonnade` under the user's data folder. It is made for its owner alone.",
    "",
    "| file | what |",
    "|---|---|",
    "| `endpoints.json` | the addresses, once all three answer; gone when the platform has stopped |",
    "| `kubeconfig`, `token` | for kubectl, the SDK and this command; mode 0600 |",
    "| `colonnade.db` | the resources (SQLite, write-ahead log) |",
    "| `lock` | held by the running control plane; a second one is refused with its pid |",
    "| `tls/` | the authority and the certificate of the API |",
    "| `routes.json`, `gateway.json`, `gateway.log` | what the gateway serves, which process it is, what it logs; "
    "`gateway-1.json` and so on for further processes |",
    "| `replicas/` | a folder per replica: its process, its log, why it ended |",
    "| `run/` | Unix sockets; under the temporary folder if the path of the state folder is too long for them |",
    "| `model-sets/` | for each multi-model service the list of its models, which its replicas read |",
    "| `cache/`, `scans/` | downloaded models, by content; what was found in models, so that none is scanned twice |",
    "| `model-sets/` | the models of each server that has many (TrainedModel) |",
    "| `environments/`, `compiled/` | Python environments of models; models as ONNX graphs |",
    "| `volumes/` | the folders of claims: `volumes/NAMESPACE/CLAIM` is `pvc://CLAIM` |",
    "| `payloads/`, `payload-access/` | payload logs on their way to their place; what buckets ask for |",
    "| `seeds.json`, `seeds.log` | which imports are kept ready for replicas; what these processes say |",
    "",
    "What a replica or the gateway writes goes to a file of its own. Past `LOG_FILE_BYTES` the control plane moves it "
    "to `….log.1`, so a log takes twice that on the disk. While no control plane runs, nobody does: a data plane that "
    "goes on alone after a crash logs without a bound until the next `colonnade up`.",
]

PAGES = {"cli.md": command_line, "manifests.md": manifests, "limits.md": limits}
if compatibility.KSERVE.is_dir():  # KServe's samples are no part of this repository
    PAGES["kserve-compatibility.md"] = compatibility.page


def stale() -> list[str]:
    """The pages that are not what they would be if written now."""
    return [name for name, page in PAGES.items() if _text(REFERENCE / name) != page()]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        raise SystemExit("\n".join(stale()) or None)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
