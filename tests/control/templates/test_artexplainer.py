"""What `spec.explainer.art` becomes: the words of KServe's controller, for a program of ours."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.runtimes import builtin
from colonnade.control.templates import artexplainer, template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.runtimes.images import ART

HERE = builtin.runtimes({ART})
NOT_HERE = builtin.runtimes()


def service(art: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits", "namespace": "default", "uid": "1"},
        "spec": {
            "predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "/m"}},
            "explainer": {"art": art, **fields},
        },
    }


def planned(art: dict[str, Any], **fields: Any) -> Plan:
    found = template.plan(service(art, **fields), "explainer", HERE)
    assert isinstance(found, Plan), found
    return found


PLACED = [
    "--termination-file",
    "$(COLONNADE_TERMINATION_FILE)",
    "--model_name",
    "digits",
    "--http_port",
    "$(PORT)",
    "--grpc_port",
    "$(GRPC_PORT)",
]
PLACED += ["--predictor_host", "$(COLONNADE_PREDICTOR_HOST)"]


@pytest.mark.parametrize(
    ("art", "words"),
    [
        ({}, ["--adversary_type", "SquareAttack"]),
        (
            {"type": "SquareAttack", "config": {"nb_classes": "10", "max_iter": "50"}, "args": ["--eps=0.1"]},
            ["--adversary_type", "SquareAttack", "--max_iter", "50", "--nb_classes", "10", "--eps=0.1"],
        ),
    ],
)
def test_the_words_are_those_of_kserve(art: dict[str, Any], words: list[str]) -> None:
    plan = planned(art)
    assert plan.container["command"] == list(artexplainer.COMMAND)
    assert plan.container["args"] == [*words, *PLACED]
    assert (plan.model, plan.transport) == ("digits", "ports")


def test_the_container_keeps_what_a_process_can_have() -> None:
    env = [{"name": "A", "value": "b"}]
    plan = planned({"env": env, "resources": {"limits": {"cpu": "1"}}, "image": "kserve/art-explainer:v1"})
    assert (plan.container["env"], plan.container["resources"]) == (env, {"limits": {"cpu": "1"}})


@pytest.mark.parametrize(
    ("art", "text"),
    [
        ({"type": "ShadowAttack"}, "spec.explainer.art.type is 'ShadowAttack'; SquareAttack"),
        ({"config": {"nb_clases": "3"}}, "spec.explainer.art.config.nb_clases is no setting"),
        ({"image": "me/other:1"}, "spec.explainer.art.image 'me/other:1' cannot be run"),
        ({"readinessProbe": {"grpc": {"port": 1}}}, "readinessProbe.grpc"),
    ],
)
def test_what_cannot_run_is_refused(art: dict[str, Any], text: str) -> None:
    found = template.plan(service(art), "explainer", HERE)
    assert isinstance(found, Refusal)
    assert text in found.message


def test_without_the_library_the_extra_is_named() -> None:
    found = template.plan(service({}), "explainer", NOT_HERE)
    assert isinstance(found, Refusal)
    assert "pip install colonnade[art]" in found.message


def test_an_environment_of_its_own_brings_the_library() -> None:
    annotations = {"colonnade.dev/requirements": "scikit-learn==1.9.1"}
    found = template.plan(service({}, annotations=annotations), "explainer", NOT_HERE)
    assert isinstance(found, Plan), found
    recipe = found.isolation.recipe(None)
    assert recipe is not None
    assert any(line.startswith(ART) for line in recipe.requirements())
    assert any(line.startswith("uvloop") for line in recipe.requirements())


def test_a_predictor_and_a_transformer_have_no_such_key() -> None:
    isvc = service({})
    isvc["spec"]["transformer"] = {"art": {}}
    assert isinstance(template.plan(isvc, "transformer", HERE), Refusal)
