"""Where `measuring` looks: the processes and the metrics of replicas, and the Secrets with credentials."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from colonnade.control.objects import Ref
from colonnade.control.scaling.usage import Used, Uses
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.errors import Error
from colonnade.net import Address, Upstream
from colonnade.platforms.base import Platform, pod_of

TIMEOUT = 2.0  # seconds that a replica gets to tell its metrics


class Readings:
    """Reads from this machine's replicas."""

    def __init__(self, store: Store, platform: Platform) -> None:
        self._store = store
        self._platform = platform
        self._uses = Uses()

    def used(self, replica: Key) -> Used | None:
        """What the processes of a replica use; None if it does not run, or not long enough."""
        states = [state for state in self._platform.list() if pod_of(state.spec.key) == str(replica) and state.running]
        found = [self._uses.of(state.pid) for state in states if state.pid is not None]
        known = [used for used in found if used is not None]
        return Used(sum(used.cpu for used in known), sum(used.memory for used in known)) if known else None

    async def tell(self, replica: Key) -> str | None:
        """The text of a replica's /metrics; None if it tells none."""
        state = self._platform.get(str(replica))
        if state is None or not state.ready:
            return None
        upstream = Upstream(Address.parse(state.spec.http))
        try:
            answer = await upstream.fetch("GET", "/metrics", timeout=TIMEOUT)
        except Error:
            return None
        finally:
            upstream.close()
        return answer.body.decode("utf-8", "replace") if answer.status == 200 else None

    def credentials(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The decoded data of a Secret, without what is not text; None if there is no such Secret."""
        found = self._store.get(Ref("", "secrets", namespace, name))
        if found is None:
            return None
        data: dict[str, str] = {}
        for key, value in (found.get("data") or {}).items():
            try:
                data[key] = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
        return data | (found.get("stringData") or {})
