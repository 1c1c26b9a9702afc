"""Who looks again when an object changes. The reconcilers know each other only through the store and these notices."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from colonnade.control.controller import Controller
from colonnade.control.graphs import inferencegraphs
from colonnade.control.graphs.inferencegraphs import InferenceGraphs
from colonnade.control.index import Index
from colonnade.control.machine.parking import Parking
from colonnade.control.models import trainedmodels
from colonnade.control.models.artefacts import Artefacts
from colonnade.control.models.fetching import Fetcher
from colonnade.control.models.localmodels import LocalModels
from colonnade.control.models.trainedmodels import TrainedModels
from colonnade.control.routes.payloadplaces import PayloadPlaces
from colonnade.control.routes.router import GROUP, Router
from colonnade.control.runtimes import runtimecatalogue
from colonnade.control.runtimes.runtimecatalogue import RuntimeCatalogue
from colonnade.control.services.inferenceservices import RESOURCE
from colonnade.control.store import Change
from colonnade.control.workload import revisions
from colonnade.control.workqueue import Key
from colonnade.resources.localmodels import LOCAL_MODEL_RESOURCES

log = logging.getLogger(__name__)

_OF_FETCHES = {("", "secrets"), ("", "serviceaccounts"), ("", "configmaps"), (GROUP, "clusterstoragecontainers")}


@dataclass(frozen=True)
class Notices:
    """The parts of a control plane that are told of changes, the controllers by what they reconcile."""

    services: Controller
    pods: Controller
    graphs: Controller
    trained_models: Controller
    index: Index
    router: Router
    runtimes: RuntimeCatalogue
    artefacts: Artefacts
    fetcher: Fetcher
    payloads: PayloadPlaces
    parking: Parking
    inference_graphs: InferenceGraphs
    models: TrainedModels
    local_models: LocalModels

    def changed(self, change: Change) -> None:
        """Tell those whom a change of the store concerns."""
        ref = change.ref
        key = Key(ref.namespace, ref.name)
        if (ref.group, ref.resource) == (GROUP, RESOURCE):
            self.services.look(key)
            if change.type == "DELETED":
                self.parking.forget(str(key))
            if change.type != "MODIFIED":
                self.local_models.look_all()  # their status names the services that they serve
            for graph in self.inference_graphs.naming(key):
                self.graphs.look(graph)
            self.models.look_for(key)
        elif (ref.group, ref.resource) == (GROUP, inferencegraphs.RESOURCE):
            self.graphs.look(key)
        elif (ref.group, ref.resource) == (GROUP, trainedmodels.RESOURCE):
            self.trained_models.look(key)
            return
        elif ref == inferencegraphs.SETTINGS:
            log.info("the settings of graphs have changed")
        elif (ref.group, ref.resource) == ("", "pods"):
            self.pods.look(key)
            self.services.look(Key(ref.namespace, revisions.service_of(change.object)))
            self.models.look_for(Key(ref.namespace, revisions.service_of(change.object)))
            if change.type != "MODIFIED":
                self.artefacts.look()
        elif (ref.group, ref.resource) in _OF_FETCHES:
            self.fetcher.retry(ref.namespace)
            self.local_models.retry(ref.namespace)
            self.payloads.again()
            return
        elif ref.group == GROUP and ref.resource in runtimecatalogue.RESOURCES:
            if change.type == "DELETED":  # a built-in one comes back, in a write of its own
                asyncio.get_running_loop().call_soon(self.runtimes.restore)
            for each in self.index.keys():  # noqa: SIM118  no mapping
                if ref.namespace in ("", each.namespace):
                    self.services.look(each)
            return
        elif ref.group == GROUP and ref.resource in LOCAL_MODEL_RESOURCES:
            self.local_models.look_all()
            return
        else:
            return
        self.router.look()
