# SPDX-License-Identifier: Apache-2.0
"""What Prometheus sees."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from .health import HEALTHY, UNHEALTHY
from .inventory import Inventory

_PREFIX = "accelerator_device_plugin"


class Metrics:
    """Every metric bears the resource's name, since a node may have plugins for several."""

    def __init__(self, resource: str, inventory: Inventory) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        devices = Gauge(
            f"{_PREFIX}_devices",
            "Devices by health as told to the kubelet.",
            ["resource", "health"],
            registry=self._registry,
        )
        for health in (HEALTHY, UNHEALTHY):
            devices.labels(resource, health).set_function(_counter(inventory, health))
        self._allocations = Counter(
            f"{_PREFIX}_allocations",
            "Allocate calls of the kubelet by result (granted, refused).",
            ["resource", "result"],
            registry=self._registry,
        )
        self._registrations = Counter(
            f"{_PREFIX}_registrations",
            "Registrations that the kubelet accepted.",
            ["resource"],
            registry=self._registry,
        )
        self._failures = Counter(
            f"{_PREFIX}_registration_failures",
            "Attempts to register that failed.",
            ["resource"],
            registry=self._registry,
        )
        self._registered_at = Gauge(
            f"{_PREFIX}_last_registration_timestamp_seconds",
            "Unix time of the last accepted registration.",
            ["resource"],
            registry=self._registry,
        )
        self._registered = Gauge(
            f"{_PREFIX}_registered",
            "1 while a kubelet follows the device list, else 0.",
            ["resource"],
            registry=self._registry,
        )
        self._restarts = Counter(
            f"{_PREFIX}_kubelet_restarts",
            "New sockets of the kubelet seen after the first.",
            ["resource"],
            registry=self._registry,
        )
        self._resource = resource
        for result in ("granted", "refused"):
            self._allocations.labels(resource, result)
        for counter in (
            self._registrations,
            self._failures,
            self._restarts,
            self._registered_at,
            self._registered,
        ):
            counter.labels(resource)

    def allocated(self, result: str) -> None:
        self._allocations.labels(self._resource, result).inc()

    def registration(self, at: float) -> None:
        self._registrations.labels(self._resource).inc()
        self._registered_at.labels(self._resource).set(at)

    def registration_failed(self) -> None:
        self._failures.labels(self._resource).inc()

    def kubelet_restarted(self) -> None:
        self._restarts.labels(self._resource).inc()

    def follow(self, registered: Callable[[], bool]) -> None:
        self._registered.labels(self._resource).set_function(lambda: float(registered()))

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _counter(inventory: Inventory, health: str) -> Callable[[], float]:
    return lambda: float(sum(state.verdict.health == health for state in inventory.snapshot()[1].values()))
