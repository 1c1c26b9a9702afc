"""Who may load what: consent by annotation, by place, and what the status says of it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.models import safety
from colonnade.control.models.safety import Refused, Safety, consent, lies_under
from colonnade.control.templates.template import TRANSPORT_ANNOTATION
from colonnade.control.workload.sources import Piece, Source
from colonnade.errors import InvalidInput
from colonnade.storage.scan import Consent, examine

TRUST, PIN = "colonnade.dev/trust-code", "colonnade.dev/model-digest"


class Evil:
    def __reduce__(self) -> Any:
        return eval, ("1",)


@pytest.mark.parametrize(
    ("annotation", "uri", "trusted", "expected"),
    [
        (None, "/models/iris", (), Consent.LOCAL),
        (None, "file:///models/iris", (), Consent.LOCAL),
        (None, "s3://bucket/iris", (), Consent.NONE),
        (None, "hf://org/model", (), Consent.NONE),
        ("true", "s3://bucket/iris", (), Consent.GIVEN),
        ("false", "/models/iris", (), Consent.NONE),
        ("yes", "/models/iris", (), Consent.NONE),
        (None, "s3://bucket/team/iris", ("s3://bucket/team",), Consent.GIVEN),
        (None, "S3://bucket/team", ("s3://bucket/team/",), Consent.GIVEN),
        ("false", "s3://bucket/team/iris", ("s3://bucket/team",), Consent.NONE),
        (None, "s3://bucket/team-evil/iris", ("s3://bucket/team",), Consent.NONE),
        (None, "s3://bucket/team/../evil", ("s3://bucket/team",), Consent.NONE),
        (None, "s3://bucket/team/%2e%2e/evil", ("s3://bucket/team",), Consent.NONE),
        (None, "s3://user@bucket/team/x", ("s3://bucket/team",), Consent.NONE),
        (None, "/models/iris", ("/models",), Consent.GIVEN),
        (None, "/models/../etc", ("/models",), Consent.LOCAL),
    ],
)
def test_consent(annotation: str | None, uri: str, trusted: tuple[str, ...], expected: Consent) -> None:
    assert consent(annotation, uri, trusted) is expected


def test_a_link_out_of_a_trusted_folder_is_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "trusted").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "trusted" / "link").symlink_to(tmp_path / "elsewhere")
    assert not lies_under(str(tmp_path / "trusted" / "link"), str(tmp_path / "trusted"))
    assert lies_under(str(tmp_path / "trusted" / "new"), str(tmp_path / "trusted"))


def test_code_in_a_file_needs_consent(tmp_path: Path) -> None:
    guard = Safety(tmp_path / "memory")
    model = tmp_path / "model.pkl"
    model.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(Refused) as refused:
        guard.require(model, [str(model)], {})
    assert "builtins.eval" in refused.value.message
    recorded = safety.record([refused.value.report])
    assert safety.fact(recorded) == ("False", "ArtefactRefused", refused.value.message)
    report = guard.require(model, [str(model)], {TRUST: "true"})
    found = safety.fact(safety.record([report]))
    assert found is not None
    assert (found.status, found.reason) == ("True", "CodeConsented")
    [entry] = json.loads(safety.record([report]))
    assert entry["verdict"] == "Consented"
    assert entry["scanner"].startswith("colonnade-scan ")
    assert entry["findings"] == [{"file": "model.pkl", "risk": "code", "message": "it asks for builtins.eval"}]
    assert (entry["files"], entry["formats"]) == (1, {"pickle": 1})


def test_a_program_on_this_machine_runs_unless_it_is_refused(tmp_path: Path) -> None:
    guard = Safety(tmp_path / "memory")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.py").write_text("import os")
    assert guard.require(tmp_path / "m", [str(tmp_path / "m")], {}).passed
    with pytest.raises(Refused, match="it is a Python program"):
        guard.require(tmp_path / "m", [str(tmp_path / "m")], {TRUST: "false"})
    with pytest.raises(Refused, match="it is a Python program"):
        guard.require(tmp_path / "m", ["https://models/m.zip"], {})


def test_a_pin_is_held(tmp_path: Path) -> None:
    guard = Safety(tmp_path / "memory")
    model = tmp_path / "model.json"
    model.write_text("{}")
    digest = guard.require(model, [str(model)], {}).scan.digest
    assert guard.require(model, [str(model)], {PIN: digest}).passed
    with pytest.raises(Refused, match=digest):
        guard.require(model, [str(model)], {PIN: "sha256:" + "0" * 64})
    for wrong in ("", digest.upper(), digest[7:], f"{digest} "):
        with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
            guard.require(model, [str(model)], {PIN: wrong})


def test_nothing_scanned_is_nothing_said() -> None:
    assert safety.record([]) == ""
    assert safety.fact("") is None


def test_an_artefact_from_several_places_may_do_what_the_least_trusted_may(tmp_path: Path) -> None:
    guard = Safety(tmp_path / "memory")
    placed, together = tmp_path / "placed", tmp_path / "together"
    placed.mkdir()
    together.mkdir()
    (placed / "model.py").write_text("import os")
    (together / "model.py").symlink_to(placed / "model.py")
    pieces = (Piece(str(placed)), Piece(f"file://{tmp_path}/other", "other"))
    source = Source(str(placed), pieces=pieces)
    assert guard.inspect(together, source).passed, "both lie on this machine, where its links may lead"
    with pytest.raises(Refused, match="it is a Python program"):
        guard.inspect(together, source._replace(pieces=(pieces[0], Piece("s3://bucket/x", "x"))))
    (together / "out").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="lies outside of the model"):
        guard.inspect(together, source)


def _pod(transport: str, *args: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "m", "annotations": {TRANSPORT_ANNOTATION: transport}},
        "spec": {"containers": [{"args": [*args]}], "restartPolicy": "Always"},
    }


@pytest.mark.parametrize(
    ("transport", "given", "args"),
    [
        ("socket", Consent.GIVEN, ["--model-name=m", "--trust-code"]),
        ("socket", Consent.LOCAL, ["--model-name=m", "--no-trust-code"]),
        ("socket", Consent.NONE, ["--model-name=m", "--no-trust-code"]),
        ("port", Consent.GIVEN, ["--model-name=m", "--no-trust-code"]),
    ],
)
def test_the_model_server_is_told_what_the_operator_trusts(
    tmp_path: Path, transport: str, given: Consent, args: list[str]
) -> None:
    (tmp_path / "model.json").write_text("{}")
    report = examine(tmp_path, consent=given)
    pod = safety.noted(_pod(transport, "--model-name=m", "--no-trust-code"), [report])
    assert pod["spec"]["containers"][0]["args"] == args
    assert json.loads(pod["metadata"]["annotations"][safety.ANNOTATION])[0]["verdict"] == "Passed"


def test_a_pod_without_a_model_stays_as_it_is() -> None:
    assert safety.noted(_pod("port"), []) == _pod("port")
