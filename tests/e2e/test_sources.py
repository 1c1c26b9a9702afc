"""Models in a bucket, in a registry and in a claim, on the product: each answers as the one on the disk does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.cli.api import Api
from colonnade.cli.apply import apply_object
from colonnade.cli.targets import kind_named

from ..storage.buckets import Buckets, serving
from ..storage.images import Pusher, layer
from ..storage.registry_server import Registry
from .product import Product, service, until

ROWS = {"instances": [[6.8, 2.8, 4.8, 1.4]]}


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    found = Registry()
    yield found
    found.close()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, iris_model: Path) -> Iterator[Product]:
    state = tmp_path_factory.mktemp("platform") / "state"
    running = Product(state, "--pvc", f"models={iris_model.parent}").start()
    yield running
    assert running.stop() == 0


def test_each_source_gives_a_service_that_answers(
    product: Product, buckets: Buckets, registry: Registry, iris_model: Path
) -> None:
    body = (iris_model / "model.joblib").read_bytes()
    buckets.put("models", {"iris/v1/model.joblib": body, "iris/v1/notes/readme.txt": b"not a model"})
    pusher = Pusher(registry.host, "team/iris")
    pusher.image([layer({"etc/os-release": b"base"}), layer({"models/model.joblib": body})], tag="v1")
    api = Api.from_kubeconfig(product.state / "kubeconfig")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s3",
            "annotations": {
                "serving.kserve.io/s3-endpoint": buckets.endpoint.removeprefix("http://"),
                "serving.kserve.io/s3-usehttps": "0",
            },
        },
        "stringData": {"AWS_ACCESS_KEY_ID": "known", "AWS_SECRET_ACCESS_KEY": "very-secret"},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}, "secrets": [{"name": "s3"}]}
    uris = {
        "bucket": "s3://models/iris/v1",
        "claim": f"pvc://models/{iris_model.name}",
        "image": f"{pusher.uri}:v1",
    }
    predictors = {name: {"sklearn": {"storageUri": uri}, "serviceAccountName": "sa"} for name, uri in uris.items()}
    for manifest in (secret, account, *(service(name, predictor) for name, predictor in predictors.items())):
        apply_object(api, kind_named(manifest["kind"]), manifest, "default")
    for name in uris:
        answers = until(
            lambda name=name: (answer := product.ask(name, "v1", ROWS)).status_code == 200 and answer,
            f"{name} answers",
        )
        assert answers.json() == {"predictions": [1]}
    assert "very-secret" not in product.log.read_text()
