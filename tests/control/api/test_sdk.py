"""KServe's own Python SDK, unmodified, over the kubeconfig."""

from __future__ import annotations

import threading

import pytest

from .api_cluster import Cluster, service_ref


def test_kserve_client(cluster: Cluster) -> None:
    kserve = pytest.importorskip("kserve")
    kubernetes = pytest.importorskip("kubernetes")
    if int(kubernetes.__version__.partition(".")[0]) >= 37:
        pytest.skip("kubernetes 37 and later refuses the SDK's own objects before any request: install kubernetes<37")
    client = kserve.KServeClient(config_file=str(cluster.kubeconfig))
    wanted = kserve.V1beta1InferenceService(
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=kubernetes.client.V1ObjectMeta(name="iris", namespace="default"),
        spec=kserve.V1beta1InferenceServiceSpec(
            predictor=kserve.V1beta1PredictorSpec(sklearn=kserve.V1beta1SKLearnSpec(storage_uri="/models/iris"))
        ),
    )
    made = client.create(wanted)
    assert made["spec"]["predictor"]["model"]["storageUri"] == "/models/iris"
    assert client.get("iris", namespace="default")["metadata"]["uid"] == made["metadata"]["uid"]
    assert [item["metadata"]["name"] for item in client.get(namespace="default")["items"]] == ["iris"]

    wanted.spec.predictor.min_replicas = 2
    patched = client.patch("iris", wanted)
    assert patched["spec"]["predictor"]["minReplicas"] == 2
    wanted.spec.predictor.sklearn.storage_uri = "/models/other"
    replaced = client.replace("iris", wanted)
    assert replaced["spec"]["predictor"]["model"]["storageUri"] == "/models/other"
    assert replaced["metadata"]["generation"] == 3

    def becomes_ready() -> None:
        conditions = [{"type": name, "status": "True"} for name in ("PredictorReady", "Ready")]
        cluster.store.update(service_ref("iris"), {"status": {"conditions": conditions}}, status=True)

    timer = threading.Timer(0.2, becomes_ready)
    timer.start()
    client.wait_isvc_ready("iris", namespace="default", timeout_seconds=30, polling_interval=1)
    timer.join()
    assert client.is_isvc_ready("iris", namespace="default")
    client.get("iris", namespace="default", watch=True, timeout_seconds=5)
    client.delete("iris", namespace="default")
    with pytest.raises(RuntimeError, match="not found"):
        client.get("iris", namespace="default")
