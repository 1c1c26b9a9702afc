"""The control plane put together: what starts, in which order, and how it ends.

It is small and restartable. It owns neither requests nor replicas: killed, it leaves gateway and replicas serving; a
new one on the same state directory adopts them. Only a stop that was asked for (SIGTERM, Ctrl-C) ends them, in the
order that loses no request: no more writes, the gateway drains, the replicas stop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec

from colonnade import defaults
from colonnade.control import lock, troubles
from colonnade.control.api.app import api
from colonnade.control.api.listening import listen
from colonnade.control.applying import apply_all
from colonnade.control.controller import Controller
from colonnade.control.events import Events
from colonnade.control.graphs import inferencegraphs
from colonnade.control.graphs.inferencegraphs import InferenceGraphs
from colonnade.control.index import Index
from colonnade.control.layout import Endpoints, Layout
from colonnade.control.machine import node
from colonnade.control.machine.budget import Budget
from colonnade.control.machine.eviction import Eviction
from colonnade.control.machine.parking import Parking, allowance
from colonnade.control.metrics import ControlMetrics
from colonnade.control.models import trainedmodels
from colonnade.control.models.artefacts import Artefacts
from colonnade.control.models.credentials import Credentials
from colonnade.control.models.environments import EnvironmentBuilder
from colonnade.control.models.fetching import Fetcher
from colonnade.control.models.holding import Holding
from colonnade.control.models.localmodels import LocalModels
from colonnade.control.models.modelsets import ModelSets
from colonnade.control.models.safety import Safety
from colonnade.control.models.trainedmodels import TrainedModels
from colonnade.control.notices import Notices
from colonnade.control.replicas.pods import Pods
from colonnade.control.rollouts.traffic import Traffic
from colonnade.control.rollouts.underway import Rollouts
from colonnade.control.routes.gateway_process import RUNS, GatewayProcess
from colonnade.control.routes.gateway_worker import Certificate, Listen
from colonnade.control.routes.payloadplaces import PayloadPlaces
from colonnade.control.routes.router import GROUP, Router
from colonnade.control.runtimes.runtimecatalogue import RuntimeCatalogue
from colonnade.control.scaling.autoscaler import Autoscaler
from colonnade.control.scaling.measuring import Measuring
from colonnade.control.scaling.metric_servers import MetricServers
from colonnade.control.scaling.readings import Readings
from colonnade.control.services.deployments import Deployments
from colonnade.control.services.inferenceservices import RESOURCE, InferenceServices
from colonnade.control.services.status import Place
from colonnade.control.settings import Settings
from colonnade.control.store import Store
from colonnade.control.workload.ports import Ports
from colonnade.control.workqueue import Key
from colonnade.net.address import is_loopback, reachable
from colonnade.platforms.base import pod_of
from colonnade.platforms.limits import Limiter, delegated
from colonnade.platforms.local import LocalPlatform
from colonnade.runtimes.environments import Environments
from colonnade.security import files, tokens
from colonnade.storage.cache import Cache
from colonnade.storage.volumes import Volumes

log = logging.getLogger(__name__)

_PRUNE_PERIOD = 60.0
_API_GRACE = 1.0  # watches never end by themselves


async def run(settings: Settings, *, ready: Callable[[Endpoints], None]) -> None:
    """Run until SIGTERM or SIGINT. `ready` is called once everything answers and the manifests are applied.

    Raises:
        errors.Conflict: another control plane holds the state directory, or a port is taken.
        errors.Error: a manifest or a certificate is refused, or the gateway does not start.
    """
    certificate = settings.certificate()
    layout = Layout(settings.state_dir.resolve())
    layout.create()
    with lock.held(layout.lock):
        layout.endpoints.unlink(missing_ok=True)
        store = Store(layout.database)
        try:
            seeds = 0 if settings.pooling.off else defaults.POOL_SEEDS
            limiter = Limiter(delegated(f"colonnade-{hashlib.sha256(str(layout.root).encode()).hexdigest()[:8]}"))
            async with LocalPlatform(layout.root, spared=RUNS, limiter=limiter, seeds=seeds) as platform:
                plane = _Plane(settings, layout, store, platform, certificate)
                await plane.run(ready)
        finally:
            store.close()


class _Plane:
    """One run. The parts know each other only through the store and the notices wired here."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        store: Store,
        platform: LocalPlatform,
        certificate: Certificate | None,
    ) -> None:
        self._settings = settings
        self._certificate = certificate
        self._layout = layout
        self._store = store
        self._platform = platform
        self._stop = asyncio.Event()
        self._up = False
        self._api_port = settings.api_port
        self._events = Events(store)
        safety = Safety(layout.scans, settings.trusted)
        self._artefacts = Artefacts(
            store,
            Cache(layout.cache),
            mirror=settings.mirror,
            limit=settings.cache_bytes,
            volumes=self._volumes,
            inspect=safety.inspect,
            further=lambda: self._model_sets.paths(),
        )
        self._model_sets = ModelSets(layout.model_sets)
        self._fetcher = Fetcher(self._artefacts.prepare, still=self._artefacts.still)
        self._environments = EnvironmentBuilder(Environments(layout.environments))
        self._runtimes = RuntimeCatalogue(store)
        self._local_models = LocalModels(
            store, self._artefacts, lambda key: self._local_model_controller.look(key), self._fetcher.retry
        )
        self._local_model_controller = Controller("localmodels", self._local_models.reconcile)
        self._gateway = GatewayProcess(
            layout,
            Listen(
                settings.host,
                settings.http_port,
                settings.grpc_port,
                settings.require_token or not is_loopback(settings.host),
                settings.gateway_workers,
                settings.max_message,
                certificate,
            ),
            grace=settings.grace,
            started=lambda: self._router.repeat(),
        )
        self._ports = Ports()
        self._traffic = Traffic()
        self._rollouts = Rollouts(self._traffic.counts)
        self._index = Index(store)
        self._metric_servers = MetricServers()
        readings = Readings(store, platform)
        self._autoscaler = Autoscaler(
            self._index,
            self._events,
            Measuring(readings.used, readings.tell, readings.credentials, servers=self._metric_servers),
            lambda key: self._services.look(key),
        )
        self._graphs = InferenceGraphs(
            store, self._events, self._index, settings.domain, lambda key: self._graph_controller.look(key)
        )
        self._graph_controller = Controller(
            "inferencegraphs",
            self._graphs.reconcile,
            tell=troubles.telling(store, self._events, GROUP, inferencegraphs.RESOURCE),
        )
        self._payloads = PayloadPlaces(
            Credentials(store, layout.cache / "authorities"),
            self._volumes,
            layout.payload_access,
            lambda key: self._services.look(key),
            lambda: self._router.look(),
        )
        self._router = Router(
            self._index,
            platform,
            self._ports,
            settings.domain,
            layout.routes,
            self._gateway.push,
            self._routes_changed,
            self._graphs,
            self._payloads,
            lambda route: self._trained_models.named(route),
        )
        self._trained_models = TrainedModels(
            store,
            self._events,
            self._index,
            platform,
            self._fetcher,
            self._model_sets,
            lambda key: self._trained_model_controller.look(key),
            self._router.look,
        )
        self._trained_model_controller = Controller(
            "trainedmodels",
            self._trained_models.reconcile,
            concurrency=16,
            tell=troubles.telling(store, self._events, GROUP, trainedmodels.RESOURCE),
        )
        self._budget = Budget(
            settings.offer.machine(os.environ),
            lambda key: self._pod_controller.look(key),
            lambda: node.keep(store, self._budget),
        )
        self._eviction = Eviction(self._budget, store, self._index, self._autoscaler, self._events)
        self._parking = Parking(
            allowance() if settings.parked_bytes is None else settings.parked_bytes,
            lambda name: self._services.look(_key(name)),
        )
        self._pods = Pods(
            store,
            platform,
            self._events,
            layout.run,
            self._ports,
            layout.compiled,
            self._budget,
            pooling=settings.pooling,
            model_sets=layout.model_sets,
            parking=self._parking,
            hold=Holding(store, safety).hold,
            look=lambda key: self._pod_controller.look(key),
        )
        self._pod_controller = Controller(
            "pods", self._pods.reconcile, concurrency=32, tell=troubles.telling(store, self._events, "", "pods")
        )

    def _volumes(self, namespace: str) -> Volumes:
        """The claims of a namespace."""
        return Volumes(self._settings.volumes.get(namespace, {}), self._layout.volumes(namespace))

    async def run(self, ready: Callable[[Endpoints], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            apply_all(self._store, self._settings.manifests, dry_run=True)  # refused before anything is started
            await self._serve(ready)
        except BaseException:
            if self._up or self._gateway.adopted:
                self._gateway.release()  # our failure is not theirs: gateway and replicas serve on
            else:
                await self._gateway.close()
            raise
        finally:
            self._ports.close()
            self._layout.endpoints.unlink(missing_ok=True)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _serve(self, ready: Callable[[Endpoints], None]) -> None:
        layout, settings = self._layout, self._settings
        token = tokens.load_or_create(layout.token)
        await self._platform.adopt()
        for seed in self._settings.pooling.seeds():
            self._platform.plant(seed)
        self._budget.adopt(self._platform.list())
        await self._gateway.open()
        place = Place(
            settings.domain,
            f"{'https' if self._certificate else 'http'}://{reachable(settings.host, self._gateway.http_port)}",
            reachable(settings.host, self._gateway.grpc_port),
        )
        self._graphs.place = place
        deployments = Deployments(
            self._store,
            self._events,
            self._fetcher,
            self._environments,
            self._index,
            self._autoscaler,
            self._rollouts,
            self._traffic.shadow,
            lambda key: self._services.look(key),
        )
        services = InferenceServices(
            self._store,
            self._events,
            self._index,
            deployments,
            self._router,
            place,
            self._ports,
            self._runtimes.of,
            self._payloads.trouble,
            lambda key: self._parking.parked(str(key)),
        )
        self._services = Controller(
            "inferenceservices",
            services.reconcile,
            tell=troubles.telling(self._store, self._events, GROUP, RESOURCE),
        )
        self._runtimes.restore()
        apply_all(self._store, settings.manifests)
        self._pods.refresh()
        for key in list(services.keys()):
            await services.reconcile(key)

        metrics = ControlMetrics(self._autoscaler.scaled, self._parking.all, self._platform.pool.standing)
        app = api(self._store, token=token, logs=self._platform, metrics=metrics.render)
        server, self._api_port = await listen(app, settings, layout, token)
        notices = Notices(
            services=self._services,
            pods=self._pod_controller,
            graphs=self._graph_controller,
            trained_models=self._trained_model_controller,
            index=self._index,
            router=self._router,
            runtimes=self._runtimes,
            artefacts=self._artefacts,
            fetcher=self._fetcher,
            payloads=self._payloads,
            parking=self._parking,
            inference_graphs=self._graphs,
            models=self._trained_models,
            local_models=self._local_models,
        )
        unsubscribe = self._store.subscribe(notices.changed)
        forget = self._platform.subscribe(lambda key: self._pod_controller.look(_key(pod_of(key))))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._router.run()),
                group.create_task(self._payloads.run()),
                group.create_task(self._gateway.run()),
                group.create_task(self._gateway.keep_log()),
                group.create_task(self._gateway.stats(self._told)),
                group.create_task(self._pod_controller.run(self._pods.keys)),
                group.create_task(self._services.run(services.keys)),
                group.create_task(self._graph_controller.run(self._graphs.keys)),
                group.create_task(self._trained_model_controller.run(self._trained_models.keys)),
                group.create_task(self._local_model_controller.run(self._local_models.keys)),
                group.create_task(self._artefacts.run()),
                group.create_task(self._parking.run()),
                group.create_task(self._prune()),
                group.create_task(self._autoscaler.run()),
                group.create_task(self._eviction.run()),
            ]
            self._up = True
            if not self._stop.is_set():  # told to stop while it started: nobody shall come any more
                scheme = "http" if is_loopback(settings.host) else "https"
                endpoints = Endpoints(
                    place.http,
                    place.grpc,
                    f"{scheme}://{reachable(settings.host, self._api_port)}",
                    self._certificate.path if self._certificate else "",
                )
                files.write(layout.endpoints, msgspec.json.encode(endpoints), files.PUBLIC)
                ready(endpoints)
            await self._stop.wait()
            log.info("stopping", extra={"grace": settings.grace})
            layout.endpoints.unlink(missing_ok=True)
            await server.drain(_API_GRACE)
            unsubscribe()
            forget()
            for task in tasks:
                task.cancel()
        await self._end()

    async def _end(self) -> None:
        """End the data plane: first its entrance, then the replicas, all within the grace period."""
        deadline = time.monotonic() + self._settings.grace
        await self._fetcher.close()
        await self._environments.close()
        await self._metric_servers.close()
        await self._local_models.close()
        try:
            await self._gateway.close()
        finally:
            left = max(1.0, deadline - time.monotonic())
            stops = (
                self._platform.stop(state.spec.key, min(left, state.spec.grace)) for state in self._platform.list()
            )
            failures = [failure for failure in await asyncio.gather(*stops, return_exceptions=True) if failure]
        if failures:
            raise BaseExceptionGroup("replicas could not be ended", failures)

    def _told(self, worker: int, line: dict[str, Any]) -> None:
        self._traffic.observe(worker, line)
        self._autoscaler.observe(worker, line)

    def _routes_changed(self, services: set[Key]) -> None:
        for key in services:
            self._services.look(key)

    async def _prune(self) -> None:
        while True:
            try:
                self._events.prune()
            except Exception:
                log.exception("old events could not be removed")
            try:
                await self._environments.prune(self._store.list("", "pods")[0])
            except Exception:
                log.exception("old environments could not be removed")
            known = {
                (key.namespace, found["metadata"]["name"])
                for key in self._index.keys()  # noqa: SIM118  no mapping
                for found in self._index.revisions(key)
            }
            self._traffic.keep(known)
            self._rollouts.keep(known)
            await asyncio.sleep(_PRUNE_PERIOD)


def _key(text: str) -> Key:
    namespace, _, name = text.partition("/")
    return Key(namespace, name)
