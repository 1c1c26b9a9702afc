"""Which way a fetch goes, with what, and what the cache keeps: a real store and a real cache."""

from __future__ import annotations

import base64
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.models import localcaches
from colonnade.control.models.artefacts import Artefacts
from colonnade.control.models.credentials import Credentials
from colonnade.control.models.fetching import Waits
from colonnade.control.models.localcaches import LocalCache
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workload import sources
from colonnade.control.workload.sources import PLACEHOLDER, Piece, Source, StorageBlock
from colonnade.errors import LoadFailed
from colonnade.storage.cache import Cache
from colonnade.storage.mirror import Mirror, mirror_of
from colonnade.storage.volumes import Volumes

from ...storage.origin import Origin

GROUP = "serving.kserve.io"


def artefacts(store: Store, tmp_path: Path, mirror: Mirror | None = None, limit: int = 1 << 30) -> Artefacts:
    return Artefacts(
        store,
        Cache(tmp_path / "cache"),
        mirror=mirror or Mirror(),
        limit=limit,
        volumes=lambda namespace: Volumes(root=tmp_path / "volumes" / namespace),
    )


def put(store: Store, resource: str, name: str, body: dict[str, Any], namespace: str = "ns", group: str = "") -> None:
    store.create(Ref(group, resource, namespace, name), {"metadata": {"annotations": {}}, **body})


def secret(store: Store, name: str, data: dict[str, str], namespace: str = "ns") -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    put(store, "secrets", name, {"data": encoded}, namespace)


def headers(store: Store, host: str = "127.0.0.1", account: str = "default", namespace: str = "ns") -> None:
    secret(store, "s", {"https-host": host, "headers": '{"Authorization": "Bearer hunter2"}'}, namespace)
    put(store, "serviceaccounts", account, {"secrets": [{"name": "s"}]}, namespace)


def get(found: Artefacts, source: Source, namespace: str = "ns") -> Path:
    return found.prepare(namespace, source)(lambda done, total: None).path


@pytest.mark.parametrize("account", ["default", "sa"])
def test_the_accounts_secrets_reach_the_source(store: Store, origin: Origin, tmp_path: Path, account: str) -> None:
    headers(store, account=account)
    origin.serve("/m.bin", b"x")
    get(artefacts(store, tmp_path), Source(origin.url("/m.bin"), account=account))
    assert origin.seen[0][1]["authorization"] == "Bearer hunter2"


def test_another_namespaces_secrets_do_not(store: Store, origin: Origin, tmp_path: Path) -> None:
    headers(store, namespace="other")
    origin.serve("/m.bin", b"x")
    get(artefacts(store, tmp_path), Source(origin.url("/m.bin")))
    assert "authorization" not in origin.seen[0][1]


def test_an_annotated_secret_goes_before_the_accounts(store: Store, origin: Origin, tmp_path: Path) -> None:
    headers(store)
    secret(store, "mine", {"https-host": "127.0.0.1", "headers": '{"X": "1"}'})
    origin.serve("/m.bin", b"x")
    get(artefacts(store, tmp_path), Source(origin.url("/m.bin"), secret="mine"))
    assert origin.seen[0][1]["x"] == "1"
    assert "authorization" not in origin.seen[0][1]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Source("s3://b/m", account="nobody"), 'serviceaccounts "nobody" not found in namespace ns'),
        (Source("s3://b/m", secret="none"), 'secrets "none" not found in namespace ns'),
        (Source("s3://b/m", container="none"), 'clusterstoragecontainers "none" is not found'),
        (
            Source(f"{PLACEHOLDER}://m", storage=StorageBlock("k")),
            """can't read storage secret storage-config: secrets "storage-config" not found""",
        ),
        (Source(f"{PLACEHOLDER}://m", storage=StorageBlock()), "unable to determine storage type"),
    ],
)
def test_what_is_missing_is_named(store: Store, tmp_path: Path, source: Source, text: str) -> None:
    with pytest.raises(LoadFailed, match=text):
        artefacts(store, tmp_path).prepare("ns", source)


def test_a_storage_block_resolves_by_its_secret(store: Store, tmp_path: Path) -> None:
    secret(store, "storage-config", {"k": '{"type": "s3", "bucket": "b", "access_key_id": "id"}'})
    secret(store, "mine", {"default_s3": '{"type": "s3", "bucket": "c"}'})
    (tmp_path / "mirrored/sklearn").mkdir(parents=True)
    mirror = mirror_of([f"s3://b={tmp_path}/mirrored", f"s3://c={tmp_path}/mirrored"])
    found = artefacts(store, tmp_path, mirror)
    assert get(found, Source(f"{PLACEHOLDER}://sklearn", storage=StorageBlock("k"))) == tmp_path / "mirrored/sklearn"
    block = StorageBlock("", (("type", "s3"),))
    assert get(found, Source(f"{PLACEHOLDER}://sklearn", secret="mine", storage=block)).name == "sklearn"
    with pytest.raises(LoadFailed, match="specified storage key other not found in storage secret storage-config"):
        found.prepare("ns", Source(f"{PLACEHOLDER}://sklearn", storage=StorageBlock("other")))


def test_a_mirror_needs_no_credentials_and_says_that_it_was_used(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m/iris").mkdir(parents=True)
    found = artefacts(store, tmp_path, mirror_of([f"gs://b={tmp_path}/m"]))
    fetched = found.prepare("ns", Source("gs://b/iris", account="nobody"))(lambda done, total: None)
    assert fetched.path == tmp_path / "m/iris"
    assert fetched.origin == f"gs://b/iris from its mirror {tmp_path}/m/iris"


def container(store: Store, name: str, program: str, spec: dict[str, Any], **more: Any) -> None:
    made = {"container": {"command": [sys.executable, "-c", program]}, **spec}
    put(store, "clusterstoragecontainers", name, {"spec": made, **more}, "", GROUP)


MARK = "import sys; open(sys.argv[-1] + '/by', 'w').write({!r})"


def test_a_command_fetches_the_uris_that_it_takes(store: Store, tmp_path: Path) -> None:
    registry = {"supportedUriFormats": [{"prefix": "reg://"}]}
    container(store, "b", MARK.format("b"), registry)
    container(store, "a", MARK.format("a"), {"supportedUriFormats": [{"regex": "special"}]})
    container(store, "0-off", MARK.format("off"), registry, disabled=True)
    container(store, "1-job", MARK.format("job"), {**registry, "workloadType": "localModelDownloadJob"})
    found = artefacts(store, tmp_path)
    assert (get(found, Source("reg://iris")) / "by").read_text() == "b"
    assert (get(found, Source("reg://special")) / "by").read_text() == "a"
    assert (get(found, Source("reg://special", container="b")) / "by").read_text() == "b"
    for name in ("0-off", "1-job"):
        with pytest.raises(LoadFailed, match=f'clusterstoragecontainers "{name}" is '):
            found.prepare("ns", Source("reg://iris", container=name))


def test_kserves_own_image_means_the_platform_and_others_need_a_command(
    store: Store, origin: Origin, tmp_path: Path
) -> None:
    formats = {"supportedUriFormats": [{"prefix": "http"}]}
    image = {"spec": {"container": {"image": "kserve/storage-initializer:latest"}, **formats}}
    put(store, "clusterstoragecontainers", "default", image, "", GROUP)
    origin.serve("/m.bin", b"x")
    assert (get(artefacts(store, tmp_path), Source(origin.url("/m.bin"))) / "m.bin").read_bytes() == b"x"
    other = {"spec": {"container": {"image": "mine/fetcher"}, **formats}}
    put(store, "clusterstoragecontainers", "another", other, "", GROUP)
    with pytest.raises(LoadFailed, match="ClusterStorageContainer another has no command"):
        artefacts(store, tmp_path).prepare("ns", Source(origin.url("/m.bin")))


def test_several_uris_become_one_folder(store: Store, origin: Origin, tmp_path: Path) -> None:
    origin.serve("/a.bin", b"a")
    origin.serve("/b.bin", b"b")
    pieces = (Piece(origin.url("/a.bin"), "base"), Piece(origin.url("/b.bin"), "adapter"))
    path = get(artefacts(store, tmp_path), Source(pieces[0].uri, "/mnt/models", pieces))
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*.bin")) == ["adapter/b.bin", "base/a.bin"]


def local(store: Store, name: str, source: str, namespace: str = "") -> LocalCache:
    resource = "localmodelnamespacecaches" if namespace else "localmodelcaches"
    put(store, resource, name, {"spec": {"sourceModelUri": source}}, namespace, GROUP)
    return LocalCache(namespace, name, source)


def test_a_local_model_cache_serves_without_the_source(store: Store, tmp_path: Path) -> None:
    found = artefacts(store, tmp_path)
    view = local(store, "iris", "s3://b/models/")
    with pytest.raises(Waits, match="waits for the LocalModelCache iris"):
        get(found, Source("s3://b/models/iris"))
    with found.cache.partial("x") as scratch:
        (scratch / "c/iris").mkdir(parents=True)
        (scratch / "c/iris/m.bin").write_bytes(b"x")
        found.cache.pin(view.pin, found.cache.keep(scratch / "c"))
    fetched = found.prepare("ns", Source("s3://b/models/iris/", account="nobody"))(lambda done, total: None)
    assert (fetched.path / "m.bin").read_bytes() == b"x"
    assert fetched.origin == "s3://b/models/iris/ from the LocalModelCache iris"
    for path in ("iris/none", "../../../../db", "iris/../../x"):
        with pytest.raises(LoadFailed, match="has no"):
            get(found, Source(f"s3://b/models/{path}"))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://b/m", "cluster"),
        ("s3://b/m/", "cluster"),
        ("s3://b/m/x", "cluster"),
        ("s3://b/m/near/x", "mine"),
        ("s3://b/m2", None),
        ("s3://b/", None),
    ],
)
def test_the_namespaces_own_cache_wins_and_then_the_nearest(uri: str, name: str | None) -> None:
    known = [
        LocalCache("", "cluster", "s3://b/m/"),
        LocalCache("", "nearer", "s3://b/m/near/x"),
        LocalCache("ns", "mine", "s3://b/m/near"),
    ]
    found = localcaches.covering(uri, known)
    assert (found.name if found else None) == name


async def test_the_cache_keeps_what_a_pod_names_and_lets_go_of_the_rest(
    store: Store, origin: Origin, tmp_path: Path
) -> None:
    found = artefacts(store, tmp_path, limit=0)
    origin.serve("/a.bin", b"a")
    origin.serve("/b.bin", b"b")
    used, idle = (get(found, Source(origin.url(path))) for path in ("/a.bin", "/b.bin"))
    old = time.time() - 7200
    for path in (used, idle):
        os.utime(path, (old, old))
    put(store, "pods", "p", {"spec": {"containers": [{"args": ["--model-dir", f"{used}/m.bin"]}]}})
    await found.tidy()
    assert used.exists()
    assert not idle.exists()
    assert found.still(used)
    assert not found.still(idle)
    assert found.cache.leased() == {used.name}
    store.delete(Ref("", "pods", "ns", "p"))
    await found.tidy()
    assert used.exists(), "a replica that was told to stop may still run"


async def test_a_secret_leaves_no_trace(store: Store, origin: Origin, tmp_path: Path, caplog: Any) -> None:
    headers(store)
    origin.serve("/m.bin", b"", status=403)
    with pytest.raises(LoadFailed, match="answered 403") as caught:
        get(artefacts(store, tmp_path), Source(origin.url("/m.bin")))
    assert "hunter2" not in caught.value.message + caplog.text
    assert not any(b"hunter2" in file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())


def test_a_token_that_a_container_has_from_a_secret_reaches_the_fetch_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    secret(store, "hub", {"token": "hf_hunter2"})
    reference = {"secretKeyRef": {"name": "hub", "key": "token"}}
    holder = {"storageUri": "hf://o/m", "env": [{"name": "HF_TOKEN", "valueFrom": reference}]}
    [source] = sources.of({}, holder, {})
    assert "hf_hunter2" not in repr(source)
    granted = Credentials(store, tmp_path)
    assert granted.of("ns", source).env == {"HF_TOKEN": "hf_hunter2"}
    assert granted.of("other", source).env == {}, "a namespace's secrets are its own"
