"""What flags do to a running replica: KServe's that have no effect, consent, and what stays of a model's folder."""

from __future__ import annotations

import pytest

from .replica import Start

CODE = """
    from colonnade import Model

    class Ready(Model):
        def predict(self, payload):
            return []
"""


def test_kserves_flags_without_effect_are_told_once(start: Start) -> None:
    replica = start("--workers=2", "--log_config_file", "x.yaml", "--model_name=m", code=CODE).ready()
    told = [entry["message"] for entry in replica.log() if entry["message"].startswith("has no effect here")]
    assert told == ["has no effect here: --workers, --log-config-file"]


def test_a_local_model_py_runs_and_leaves_its_folder_as_it_was(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    files = {"beside.py": ""}
    replica = start("--model-name=m", code=f"    import beside\n{CODE}", files=files).ready()
    assert {entry.name for entry in replica.folder.iterdir()} == {"model.py", "beside.py", "http", "grpc", "stderr"}


def test_code_that_may_not_run_ends_the_replica_with_the_way_to_consent(start: Start) -> None:
    replica = start("--model-name=m", "--no-trust-code", code=CODE)
    assert replica.wait() == 3
    assert 'colonnade.dev/trust-code: \\"true\\"' in replica.stderr.read_text()
