"""Asks Prometheus and Graphite for one number, with the credentials and the rules of KEDA's scalers of these names.

An empty answer is zero (KEDA's `ignoreNullValues`), an answer of several series is an error, since which of them was
meant is anybody's guess. Nothing of a credential is ever part of a message.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from colonnade.autoscale.sources import Query

TIMEOUT = 5.0
MAX_ANSWER_BYTES = 1 << 20
GRAPHITE_SPAN = "-5min"


class Unanswered(Exception):
    """There is no number; the message says why, and quotes no credential."""


class MetricServers:
    """The connections to metric servers. `close` ends them."""

    def __init__(self, *, timeout: float = TIMEOUT) -> None:
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, query: Query, credentials: Mapping[str, str] | None) -> float:
        """The number that a server answers.

        Raises:
            Unanswered: it did not answer, or not with one number.
        """
        base = query.address.rstrip("/")
        if query.backend == "graphite":
            parameters = {"target": query.query, "from": GRAPHITE_SPAN, "format": "json"}
            return _graphite(await self._fetch(f"{base}/render", parameters, _shown(query, credentials)))
        parameters = {"query": query.query} | ({"namespace": query.namespace} if query.namespace else {})
        return _prometheus(await self._fetch(f"{base}/api/v1/query", parameters, _shown(query, credentials)))

    async def _fetch(self, url: str, parameters: dict[str, str], headers: dict[str, str]) -> Any:
        try:
            async with self._client.stream("GET", url, params=parameters, headers=headers) as response:
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise Unanswered(f"{url} answers more than {MAX_ANSWER_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise Unanswered(f"{url} cannot be asked: {type(error).__name__}") from None
        if response.status_code != 200:
            raise Unanswered(f"{url} answers {response.status_code}")
        try:
            return msgspec.json.decode(bytes(body))
        except msgspec.DecodeError:
            raise Unanswered(f"{url} does not answer JSON") from None


def _prometheus(answer: Any) -> float:
    """The number of an instant query's answer (Prometheus' HTTP API, v1)."""
    data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
    result = data.get("result") if isinstance(data, dict) else None
    if isinstance(data, dict) and data.get("resultType") == "vector" and isinstance(result, list):
        if not result:
            return 0.0
        if len(result) > 1:
            raise Unanswered(f"the query answers {len(result)} series; make it one, with sum() for instance")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    if not isinstance(result, list) or len(result) != 2:
        raise Unanswered("the answer has no value")
    return _finite(result[1])


def _graphite(answer: Any) -> float:
    """The newest number of the only series of an answer."""
    if answer == []:
        return 0.0
    if not isinstance(answer, list) or len(answer) > 1:
        raise Unanswered("the answer is not one series")
    points = answer[0].get("datapoints") if isinstance(answer[0], dict) else None
    try:
        return _finite(next((value for value, _ in reversed(points or []) if value is not None), 0.0))
    except (TypeError, ValueError):
        raise Unanswered("the answer has no points") from None


def _finite(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Unanswered("the value is no number") from None
    if not math.isfinite(number):
        raise Unanswered(f"the value is {number}")
    return number


def _shown(query: Query, credentials: Mapping[str, str] | None) -> dict[str, str]:
    """The headers that show the credentials, as KEDA's `authModes` say; by what the Secret has, if none is named."""
    if not query.secret:
        return {}
    if credentials is None:
        raise Unanswered(f"secret {query.secret!r} not found; create it in the service's namespace")
    modes = [mode.strip() for mode in query.modes.split(",") if mode.strip()]
    if not modes:
        modes = [mode for mode, key in (("bearer", "bearerToken"), ("basic", "username")) if key in credentials]
    headers: dict[str, str] = {}
    for mode in modes:
        keys = {"bearer": ("bearerToken",), "basic": ("username",), "custom": ("customAuthHeader", "customAuthValue")}
        missing = [key for key in keys.get(mode, ()) if key not in credentials]
        if mode not in keys or missing:
            what = f"has no {', '.join(missing)}" if missing else "cannot be used"
            raise Unanswered(f"secret {query.secret!r} {what} for authModes {mode!r}; basic, bearer and custom work")
        if mode == "bearer":
            headers["Authorization"] = f"Bearer {credentials['bearerToken'].strip()}"
        elif mode == "basic":
            pair = f"{credentials['username']}:{credentials.get('password', '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            headers[credentials["customAuthHeader"].strip()] = credentials["customAuthValue"].strip()
    return headers
