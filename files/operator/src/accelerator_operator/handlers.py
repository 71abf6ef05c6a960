# SPDX-License-Identifier: Apache-2.0
"""kopf watches; every event that matters only wakes the loop of the custom resources, which looks at everything anew.

Raw events and an index are all that is used of kopf: it then writes neither annotations nor finalizers nor Events,
and a restart in the middle of a deletion finds its way by what is left in the cluster.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import kopf
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

from accelerator_operator.api import ApiFailure
from accelerator_operator.objects import NODE, OWNED_KINDS, POD, Kind, Obj, node_view

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]
SECONDS_TO_SETTLE = 0.3  # events come in bursts: one look after the burst
SECONDS_OF_BACKOFF = (1.0, 60.0)


class Loops:
    """One task per custom resource: waits for a wake-up or for the time, then reconciles."""

    def __init__(self, reconcile: Reconcile) -> None:
        self._reconcile = reconcile
        self._wake: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def wake(self, name: str) -> None:
        self._wake.setdefault(name, asyncio.Event()).set()
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._run(name), name=f"reconcile {name}")

    def wake_all(self) -> None:
        for event in self._wake.values():
            event.set()

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, name: str) -> None:
        event, backoff = self._wake[name], SECONDS_OF_BACKOFF[0]
        delay: float | None = 0.0
        while delay is not None or event.is_set():
            await _wait(event, delay or 0.0)
            event.clear()
            try:
                delay = await self._reconcile(name)
                backoff = SECONDS_OF_BACKOFF[0]
            except ApiFailure as error:
                log.warning("%s; again in %.0f s", error, backoff)
            except Exception:
                log.exception("reconcile of %s failed; again in %.0f s", name, backoff)
            else:
                await asyncio.sleep(SECONDS_TO_SETTLE)
                continue
            await asyncio.sleep(backoff)
            delay, backoff = 0.0, min(backoff * 2, SECONDS_OF_BACKOFF[1])
        del self._wake[name], self._tasks[name]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """kopf's own service account login needs cluster DNS; the environment names the same server without."""
    info = kopf.login_with_service_account(**kwargs)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if info is None or host is None:
        return info or kopf.login_with_kubeconfig(**kwargs)
    return dataclasses.replace(info, server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")


def register(
    registry: kopf.OperatorRegistry,
    custom: Kind,
    part_of: str,
    loops: Loops,
    use_nodes: Callable[[Mapping[str, Collection[Obj]]], None],
    count_nodes: Callable[[], None],
    on_stop: Callable[[], Awaitable[None]],
) -> None:
    """Puts all handlers into the registry. All are coroutines: kopf runs plain functions in threads."""
    seen: dict[str, Obj] = {}

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.scanning.disabled = True  # watching CRDs and namespaces would need rights that are not ours
        settings.watching.chunk_size = 500
        settings.networking.connect_timeout = 30

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await loops.stop()
        await on_stop()

    kopf.on.login(registry=registry, retries=3)(login)

    @kopf.index(*_where(NODE), id="nodes", registry=registry)
    async def index(body: kopf.Body, **_: Any) -> Obj:
        return {body["metadata"]["name"]: node_view(dict(body))}

    @kopf.on.event(*_where(NODE), registry=registry)
    async def on_node(event: kopf.RawEvent, name: str, **indices: Any) -> None:
        view: Obj = next(iter(indices["nodes"].get(name, [])), {})
        anew = event["type"] is None  # listed: at the start, and after a lost watch, which does not tell what went
        if anew:
            count_nodes()
        if anew or seen.get(name) != view:  # a heartbeat changes nothing in the view
            seen[name] = view
            loops.wake_all()
        if event["type"] == "DELETED":
            seen.pop(name, None)

    @kopf.on.event(*_where(custom), registry=registry)
    async def on_custom_resource(name: str, **indices: Any) -> None:
        use_nodes(indices["nodes"])  # complete: kopf calls no handler before all is listed
        loops.wake(name)

    async def on_owned(**_: Any) -> None:
        loops.wake_all()

    for kind in ("Module", "DaemonSet", "Deployment"):
        kopf.on.event(*_where(OWNED_KINDS[kind]), id=kind, labels={_names.LABEL_PART_OF: part_of}, registry=registry)(
            on_owned
        )
    kopf.on.event(*_where(POD), id="Pod", registry=registry)(on_owned)


def _where(kind: Kind) -> tuple[str, ...]:
    return (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)
