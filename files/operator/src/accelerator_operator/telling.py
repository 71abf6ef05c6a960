# SPDX-License-Identifier: Apache-2.0
"""Asks device plugins which devices died under which pods, and writes the Events. What fails here hinders no other."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

from accelerator_operator.api import Api, ApiFailure
from accelerator_operator.events import Loss, askable, event, losses
from accelerator_operator.objects import Obj
from accelerator_operator.reconcile import Observed

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[Any]]
SECONDS_TO_ANSWER = 10.0
LONGEST_REPORT = 4 << 20  # bytes; a thousand devices take a quarter of one
ASKED_AT_ONCE = 8


async def fetch(address: str) -> Any:
    """What the plugin with this pod IP says at /devices. Asked directly: it takes no right on the pod's proxy."""
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{_names.DEVICE_PLUGIN_PORT}/devices"
    client = httpx2.AsyncClient(timeout=SECONDS_TO_ANSWER, trust_env=False)
    async with client, client.stream("GET", url) as response:
        response.raise_for_status()
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > LONGEST_REPORT:
                raise ValueError(f"more than {LONGEST_REPORT} bytes")
    return json.loads(body)


class Teller:
    """Remembers what it has told of what is still so; after a restart the API server does, by the Event's name."""

    def __init__(self, definition: Obj, api: Api, ask: Fetch = fetch) -> None:
        self._definition, self._api, self._ask = definition, api, ask
        self._told: set[str] = set()
        self._at_once = asyncio.Semaphore(ASKED_AT_ONCE)

    async def tell(self, observed: Observed) -> None:
        pods = askable(self._definition, observed)
        found = [loss for told in await asyncio.gather(*map(self._losses, pods)) for loss in told]
        self._told &= {loss.key for loss in found}
        for loss in found:
            if loss.key not in self._told and await self._write(loss):
                self._told.add(loss.key)

    async def _losses(self, pod: Obj) -> list[Loss]:
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        try:
            async with self._at_once:
                return losses(node, await self._ask(pod["status"]["podIP"]))
        except (httpx2.HTTPError, ValueError, RecursionError) as error:
            log.warning("%s on %s does not say which devices died: %s: %s", name, node, type(error).__name__, error)
            return []

    async def _write(self, loss: Loss) -> bool:
        """Whether that is done with; a pod that went, or is elsewhere, whatever the plugin says, gets no Event."""
        try:
            pod = await self._api.pod(loss.namespace, loss.pod)
            if pod and pod.get("spec", {}).get("nodeName") == loss.node:
                now = datetime.now(UTC)
                await self._api.create_event(event(loss, self._definition, pod["metadata"]["uid"], now))
                log.info("pod %s/%s was told that device %s died", loss.namespace, loss.pod, loss.device)
        except ApiFailure as error:
            log.warning("%s", error)
            return False
        return True
