"""What a service consists of."""

from __future__ import annotations

from colonnade.control.workload import components

from ..kserve_objects import isvc


def test_the_components_of_a_service() -> None:
    service = isvc()
    service["spec"]["transformer"] = {"containers": [{"name": "kserve-container"}]}
    service["spec"]["predictor"]["name"] = "blue"
    found = [(each.name, each.infix) for each in components.of(service)]
    assert found == [("predictor", "blue-predictor"), ("transformer", "transformer")]


def test_a_variant_has_what_it_leaves_out_of_the_stable_predictor() -> None:
    service = isvc({"sklearn": {"storageUri": "/m/1", "env": [{"name": "A", "value": "1"}]}, "minReplicas": 4})
    service["spec"]["canary"] = [
        {"predictor": {"name": "v2", "model": {"storageUri": "/m/2"}, "minReplicas": 1}, "trafficPercent": 10}
    ]
    ((variant, percent, replicas),) = components.canaries(service)
    assert (variant.variant, variant.infix, percent, replicas) == ("v2", "v2-predictor", 10, 1)
    assert variant.spec["model"] == {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "/m/2",
        "env": [{"name": "A", "value": "1"}],
    }
    assert variant.spec["minReplicas"] == 1
