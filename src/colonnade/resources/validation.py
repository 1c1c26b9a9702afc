"""The rules of an object, with KServe's texts for an InferenceService.

Sources: KServe's `inference_service_validation.go` and `component.go` (texts in `kserve_texts`), Kubernetes' own rules
for names and labels. KServe stops at the first broken rule; here all are reported at once, each with its field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from colonnade.errors import InvalidInput
from colonnade.resources import (
    canaries,
    graph_rules,
    localmodels,
    runtimerules,
    scaling,
    storagecontainer,
    trainedmodel,
)
from colonnade.resources import kserve_texts as texts
from colonnade.resources.inferencegraph import InferenceGraph
from colonnade.resources.inferenceservice import (
    ComponentExtension,
    Explainer,
    Framework,
    InferenceService,
    Logger,
    Predictor,
    Transformer,
)
from colonnade.resources.kinds import NAMESPACE, Kind, by_kind
from colonnade.resources.meta import (
    AUTOSCALER_CLASS,
    ObjectMeta,
    isvc_name_failure,
    label_failure,
    metadata_failures,
    subdomain_failure,
)
from colonnade.resources.podspec import Container, PodSpec
from colonnade.resources.quantity import parse as parse_quantity
from colonnade.resources.runtime import ServingRuntime
from colonnade.resources.served import SCHEMES, TRANSFORMER_CONTAINER, scheme_of
from colonnade.resources.shape import brief
from colonnade.resources.storageuris import storage_uris
from colonnade.resources.strict import MAX_DEPTH, Cause, invalid, too_deep, type_errors_of

Component = Predictor | Transformer | Explainer


def validate(obj: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> None:
    """Hold an object, with defaults filled in, against the rules of its kind; kinds that are not served have none.

    Args:
        obj: the object as it is to be stored.
        old: the stored object that it replaces, for rules on changes.

    Raises:
        Invalid: `causes` names each broken rule with its field.
    """
    kind = by_kind(obj.get("apiVersion"), obj.get("kind"))
    if kind is None:
        return
    if too_deep(obj):
        raise invalid(obj, [("", f"nested deeper than {MAX_DEPTH} levels")])
    causes = type_errors_of(kind.struct, obj)
    if not causes:
        view = msgspec.convert(obj, kind.struct)
        causes = list(_rules(view, kind, old))
    if causes:
        raise invalid(obj, causes)


def _rules(view: Any, kind: Kind, old: Mapping[str, Any] | None) -> Iterator[Cause]:
    meta: ObjectMeta = view.metadata
    yield from metadata_failures(meta)
    if not meta.name:
        if not meta.generate_name:
            yield "metadata.name", "Required value: name or generateName is required"
    elif isinstance(view, InferenceService):
        if failure := isvc_name_failure(meta.name):
            yield "metadata.name", failure
    elif isinstance(view, InferenceGraph):
        if failure := graph_rules.name_failure(meta.name):
            yield "metadata.name", failure
    elif failure := (label_failure if kind is NAMESPACE else subdomain_failure)(meta.name):
        yield "metadata.name", f"Invalid value: {brief(meta.name)}: {failure}"
    if isinstance(view, InferenceService):
        yield from _inference_service(view, old)
    elif isinstance(view, storagecontainer.ClusterStorageContainer):
        yield from storagecontainer.rules(view)
    elif isinstance(view, localmodels.LocalModelCache):
        yield from localmodels.cache_rules(view, old)
    elif isinstance(view, localmodels.LocalModelNodeGroup):
        yield from localmodels.group_rules(view)
    elif isinstance(view, InferenceGraph):
        yield from graph_rules.rules(view)
    elif isinstance(view, trainedmodel.TrainedModel):
        yield from trainedmodel.rules(view, old)
    elif isinstance(view, ServingRuntime):
        yield from runtimerules.rules(view, old)


def _inference_service(isvc: InferenceService, old: Mapping[str, Any] | None) -> Iterator[Cause]:
    predictor = isvc.spec.predictor
    yield from scaling.autoscaler_class(isvc)
    yield from scaling.knative_annotations(isvc)
    yield from _blocked_variables(isvc)
    yield from _workers(isvc)
    yield from _collocated_transformer(predictor)
    for key, form in predictor.frameworks:
        if form.name:
            yield f"spec.predictor.{key}.name", texts.NAME_IN_MODEL
        yield from _storage_uri(f"spec.predictor.{key}.storageUri", form.storage_uri)
        yield from _confidential(f"spec.predictor.{key}.confidential", form)
    for name, component in _components(isvc):
        path = f"spec.{name}"
        yield from _exactly_one(path, component)
        yield from _extension(path, component)
        yield from storage_uris(path, component)
        yield from scaling.component(path, component, isvc)
        yield from _quantities(path, component)
    if not predictor.frameworks:
        yield from _custom_protocol(predictor)
    yield from canaries.rules(isvc)
    if old is not None:
        yield from _changes(isvc, old)


def _components(isvc: InferenceService) -> Iterator[tuple[str, Component]]:
    yield "predictor", isvc.spec.predictor
    if isvc.spec.transformer is not None:
        yield "transformer", isvc.spec.transformer
    if isvc.spec.explainer is not None:
        yield "explainer", isvc.spec.explainer


def _blocked_variables(isvc: InferenceService) -> Iterator[Cause]:
    named: list[tuple[str, PodSpec]] = [(f"spec.{name}", component) for name, component in _components(isvc)]
    if isvc.spec.predictor.worker_spec is not None:
        named.append(("spec.predictor.workerSpec", isvc.spec.predictor.worker_spec))
    found: list[tuple[str, Container]] = [
        (f"{path}.{field}[{index}]", container)
        for path, pod in named
        for field, containers in (("containers", pod.containers), ("initContainers", pod.init_containers))
        for index, container in enumerate(containers or ())
    ]
    found += [(f"spec.predictor.{key}", form) for key, form in isvc.spec.predictor.frameworks]
    if isvc.spec.explainer is not None and isvc.spec.explainer.art is not None:
        found.append(("spec.explainer.art", isvc.spec.explainer.art))
    for path, container in found:
        for index, variable in enumerate(container.env or ()):
            if variable.name in texts.BLOCKED_VARIABLES:
                yield f"{path}.env[{index}]", texts.blocked(isvc.metadata.name, variable.name, container.name)


def _workers(isvc: InferenceService) -> Iterator[Cause]:
    workers = isvc.spec.predictor.worker_spec
    if workers is None:
        return
    path, name = "spec.predictor.workerSpec", isvc.metadata.name
    if len(workers.containers or ()) > 1:
        yield f"{path}.containers", texts.in_service(name, texts.WORKER_CONTAINERS)
    for field, text, size in (
        ("pipelineParallelSize", "PipelineParallelSize", workers.pipeline_parallel_size),
        ("tensorParallelSize", "TensorParallelSize", workers.tensor_parallel_size),
    ):
        if size is not None and size < 1:
            yield f"{path}.{field}", texts.in_service(name, f"WorkerSpec.{text} cannot be less than 1({size})")
    model = isvc.spec.predictor.model
    if model is None:
        return
    for index, variable in enumerate(model.env or ()):
        if variable.name in ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE"):
            text = f"setting {variable.name} in environment variables is not allowed"
            yield f"spec.predictor.model.env[{index}]", texts.in_service(name, text)
    if model.storage_uri is None:
        yield "spec.predictor.model.storageUri", texts.in_service(name, texts.WORKER_NEEDS_URI)
    elif (scheme := model.storage_uri.split("://")[0]) not in ("pvc", "oci"):
        text = f"Multinode only supports 'pvc' and 'oci' Storage Protocol({scheme})"
        yield "spec.predictor.model.storageUri", texts.in_service(name, text)
    chosen = scaling.annotations_of(isvc).get(AUTOSCALER_CLASS, "")
    if chosen != "none":
        text = f"Multinode only supports 'none' autoscaler({chosen})"
        yield f"metadata.annotations[{AUTOSCALER_CLASS}]", texts.in_service(name, text)


def _collocated_transformer(predictor: Predictor) -> Iterator[Cause]:
    for index, container in enumerate(predictor.containers or ()):
        if container.name == TRANSFORMER_CONTAINER and any(item.name == "STORAGE_URI" for item in container.env or ()):
            yield f"spec.predictor.containers[{index}].env", texts.STORAGE_URI_IN_TRANSFORMER


def _storage_uri(path: str, uri: str | None) -> Iterator[Cause]:
    if uri and (scheme := scheme_of(uri)) and scheme not in texts.SCHEMES and scheme not in SCHEMES:
        yield path, texts.unsupported_uri(uri)


def _confidential(path: str, form: Framework) -> Iterator[Cause]:
    confidential = form.confidential
    if confidential is None or not confidential.enabled:
        return
    if not form.storage_uri:
        yield path, texts.CONFIDENTIAL_NEEDS_URI
    if confidential.resource_id and not texts.KBS_RESOURCE.fullmatch(confidential.resource_id):
        yield f"{path}.resourceId", texts.bad_resource_id(confidential.resource_id)


def _exactly_one(path: str, component: Component) -> Iterator[Cause]:
    forms: tuple[str, ...]
    match component:
        case Predictor():
            given = [key for key, _ in component.frameworks]
            if component.containers and (not given or any(c.name == "kserve-container" for c in component.containers)):
                given.append("containers")
            forms, name = texts.PREDICTOR_FORMS, "PredictorSpec"
        case Explainer():
            given = [key for key, form in (("art", component.art), ("containers", component.containers)) if form]
            forms, name = texts.EXPLAINER_FORMS, "ExplainerSpec"
        case Transformer():
            given = ["containers"] if component.containers else []
            forms, name = texts.TRANSFORMER_FORMS, "TransformerSpec"
    if len(given) != 1:
        yield path, texts.exactly_one(forms, name, given)


def _extension(path: str, component: ComponentExtension) -> Iterator[Cause]:
    least = 1 if component.min_replicas is None else component.min_replicas
    most = component.max_replicas or 0
    if least < 0:
        yield f"{path}.minReplicas", texts.MIN_REPLICAS_BELOW_ZERO
    if most < 0:
        yield f"{path}.maxReplicas", texts.MAX_REPLICAS_BELOW_ZERO
    elif least > most != 0:
        yield f"{path}.minReplicas", texts.MIN_ABOVE_MAX
    if (component.container_concurrency or 0) < 0:
        yield f"{path}.containerConcurrency", texts.PARALLELISM_BELOW_ZERO
    if component.timeout is not None and component.timeout < 0:
        yield f"{path}.timeout", f"timeout cannot be less than 0, not {component.timeout}; give seconds"
    if component.canary_traffic_percent is not None and not 0 <= component.canary_traffic_percent <= 100:
        text = f"canaryTrafficPercent must be between [0, 100], not {component.canary_traffic_percent}"
        yield f"{path}.canaryTrafficPercent", text
    if component.logger is not None:
        yield from _logger(f"{path}.logger", component.logger)
    if component.batcher is not None:
        for field, value in (
            ("maxBatchSize", component.batcher.max_batch_size),
            ("maxLatency", component.batcher.max_latency),
            ("timeout", component.batcher.timeout),
        ):
            if value is not None and value < 0:
                yield f"{path}.batcher.{field}", f"{field} cannot be less than 0, not {value}"


def _logger(path: str, logger: Logger) -> Iterator[Cause]:
    if logger.mode is None:
        yield f"{path}.mode", f"{texts.LOGGER_TYPE}; use all, request or response"
    storage = logger.storage
    if storage is not None and (storage.path or "").startswith(("/", "file://", "pvc://")):
        return  # a folder of this machine, which KServe has not got: it needs no credentials
    if storage is not None and (storage.path is None or storage.parameters is None or storage.key is None):
        yield f"{path}.storage", f"{texts.LOGGER_STORAGE}; path, parameters and key are needed"


def _quantities(path: str, component: Component) -> Iterator[Cause]:
    found: list[tuple[str, Container]] = [
        (f"{path}.containers[{index}]", container) for index, container in enumerate(component.containers or ())
    ]
    if isinstance(component, Predictor):
        found += [(f"{path}.{key}", form) for key, form in component.frameworks]
    for where, container in found:
        for part in ("requests", "limits"):
            amounts = getattr(container.resources, part, None) or {}
            for name, amount in amounts.items():
                if failure := _quantity_failure(amount):
                    yield f"{where}.resources.{part}[{name}]", f"Invalid value: {failure}"


def _quantity_failure(amount: int | float | str) -> str | None:
    try:
        number = parse_quantity(amount)
    except InvalidInput as error:
        return error.message
    return f"{brief(amount)} must be greater than or equal to 0" if number < 0 else None


def _custom_protocol(predictor: Predictor) -> Iterator[Cause]:
    containers = predictor.containers or []
    for index, variable in enumerate((containers[0].env or ()) if containers else ()):
        if variable.name == "PROTOCOL" and variable.value not in ("v1", "v2"):
            yield f"spec.predictor.containers[0].env[{index}]", texts.bad_protocol(variable.value or "")


def _changes(isvc: InferenceService, old: Mapping[str, Any]) -> Iterator[Cause]:
    if type_errors_of(InferenceService, old):
        return
    before = msgspec.convert(old, InferenceService)
    if isvc.metadata.deletion_timestamp is None:
        yield from scaling.deployment_mode_change(before, isvc)
    yield from canaries.rename(before, isvc)
