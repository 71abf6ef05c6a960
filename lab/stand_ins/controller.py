# SPDX-License-Identifier: Apache-2.0
"""What the stand-ins have in common: watched stores, and one thread that makes the cluster agree with them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
import yaml

from stand_ins.kube import CONFIG_MAPS, CRDS, ApiError, Kube, Object, Resource, Store

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
FAULTS = ("kube-system", "stand-in-faults")  # ConfigMap: a key that exists is a fault that is on
SETTLE_SECONDS = 0.05  # one reconcile for a burst of events
RETRY_SECONDS = 2.0
SERVED_SECONDS = 120
TROUBLE = (ApiError, urllib3.exceptions.HTTPError, OSError, LookupError, ValueError)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def definitions(name: str) -> list[Object]:
    """The objects in crds/NAME.yaml: nfd, kmm, olm or monitoring."""
    items: list[Object] = yaml.safe_load((HERE / "crds" / f"{name}.yaml").read_text())["items"]
    return items


def install_definitions(kube: Kube, name: str, manager: str, labels: dict[str, str] | None = None) -> None:
    wanted = definitions(name)
    for definition in wanted:
        if labels:
            definition["metadata"]["labels"] = labels
        kube.apply(CRDS, definition, manager)
    served(kube, wanted)


def served(kube: Kube, wanted: list[Object]) -> None:
    """Waits until the API serves these definitions."""
    until = time.monotonic() + SERVED_SECONDS
    while missing := [d["metadata"]["name"] for d in wanted if not _is_served(kube, d)]:
        if time.monotonic() > until:
            names = ", ".join(missing)
            raise TimeoutError(f"{names}: not served after {SERVED_SECONDS} s; see kubectl describe crd {missing[0]}")
        time.sleep(0.1)


def _is_served(kube: Kube, definition: Object) -> bool:
    """Established, and answered for: the API server learns of the condition, which it wrote, a moment later."""
    spec = definition["spec"]
    seen = kube.get(CRDS, definition["metadata"]["name"]) or {}
    conditions = seen.get("status", {}).get("conditions") or []  # null just after the creation
    if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        return False
    names = spec["names"]
    try:
        kube.list(Resource(f"{spec['group']}/{spec['versions'][0]['name']}", names["plural"], names["kind"]))
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def until_done(step: Callable[[], None], stop: threading.Event) -> None:
    """Does what must succeed before we can play: an API server that just starts, or is busy, is asked again."""
    while not stop.is_set():
        try:
            step()
            return
        except TROUBLE as error:
            log.warning("start: %s; again in %s s", error, RETRY_SECONDS)
            stop.wait(RETRY_SECONDS)


def set_fault(kube: Kube, name: str, on: bool) -> None:
    """Each fault has its own field manager, so that turning one off leaves the others."""
    namespace, config_map = FAULTS
    labels = {"stand-in": "faults"}
    fault = CONFIG_MAPS.new(config_map, namespace, data={name: "on"} if on else {})
    fault["metadata"]["labels"] = labels
    kube.apply(CONFIG_MAPS, fault, f"fault-{name}")


class Controller:
    """Level-triggered: `reconcile` looks at the stores, never at the event that woke it."""

    name = ""
    resync: float | None = None  # seconds; only for what no watch can see

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._stores: list[Store] = []
        self._troubles: list[str] = []
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._faults = self.store(CONFIG_MAPS, "stand-in=faults")

    def store(self, resource: Resource, selector: str = "") -> Store:
        store = Store(self.kube, resource, lambda: self._wake.set(), selector)
        self._stores.append(store)
        return store

    def fault(self, name: str) -> bool:
        namespace, config_map = FAULTS
        return name in (self._faults.get(config_map, namespace) or {}).get("data", {})

    def reconcile(self) -> None:
        raise NotImplementedError

    def attempt(self, step: Callable[..., None], *arguments: Any) -> None:
        """One object's trouble must not stop the others: it is logged, and all is tried again after a while."""
        try:
            step(*arguments)
        except TROUBLE as error:
            self._troubles.append(str(error))
        except Exception as error:  # a mistake of ours: told in full, and no reason to be silent ever after
            log.exception("%s: %s", self.name, step)
            self._troubles.append(repr(error))

    def start(self) -> None:
        for store in self._stores:
            store.start()
        self._thread = threading.Thread(target=self._run, daemon=True, name=self.name)
        self._thread.start()
        log.info("%s: started", self.name)

    def stop(self) -> None:
        """Returns when the last reconcile is over: whoever plays next does not meet it."""
        for store in self._stores:
            store.stop()
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join()
        log.info("%s: stopped", self.name)

    def _run(self) -> None:
        retry: float | None = None
        while True:
            self._wake.wait(retry or self.resync)
            self._stop.wait(SETTLE_SECONDS)
            self._wake.clear()
            if self._stop.is_set():  # asked after the clear: stop() sets it before it wakes us, so no wake is lost
                return
            if not all(store.synced for store in self._stores):
                continue
            self._troubles.clear()
            self.attempt(self.reconcile)
            retry = RETRY_SECONDS if self._troubles else None
            for trouble in self._troubles:
                log.warning("%s: %s; again in %s s", self.name, trouble, RETRY_SECONDS)
