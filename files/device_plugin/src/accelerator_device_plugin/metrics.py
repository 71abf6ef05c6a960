# SPDX-License-Identifier: Apache-2.0
"""What Prometheus sees."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .health import HEALTHY, STATES, UNHEALTHY
from .inventory import Change, Inventory
from .pods import Holders, PodsMetric

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
        states = Gauge(
            f"{_PREFIX}_device_states",
            "Devices by state; a suspect one is still offered.",
            ["resource", "state"],
            registry=self._registry,
        )
        for state in STATES:
            states.labels(resource, state).set_function(_in_state(inventory, state))
        self._transitions = Counter(
            f"{_PREFIX}_transitions",
            "Changes of a device's state, by the state it came to and the reason.",
            ["resource", "state", "reason"],
            registry=self._registry,
        )
        self._probes = Histogram(
            f"{_PREFIX}_probe_seconds",
            "Time that opening a device took, where the probe is on.",
            ["resource"],
            buckets=(0.0001, 0.001, 0.01, 0.1, 1, 10),
            registry=self._registry,
        )
        self._allocations = Counter(
            f"{_PREFIX}_allocations",
            "Allocate calls of the kubelet by result (granted, refused).",
            ["resource", "result"],
            registry=self._registry,
        )
        self._pre_starts = Counter(
            f"{_PREFIX}_pre_starts",
            "PreStartContainer calls of the kubelet by result (granted, refused).",
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
        self._age = Gauge(
            f"{_PREFIX}_registration_age_seconds",
            "Seconds since the last accepted registration, by a clock that never jumps; -1 before the first.",
            ["resource"],
            registry=self._registry,
        )
        self._registered_mono: float | None = None
        self._age.labels(resource).set_function(self._registration_age)
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
            self._pre_starts.labels(resource, result)
        for counter in (
            self._registrations,
            self._failures,
            self._restarts,
            self._registered_at,
            self._registered,
            self._probes,
        ):
            counter.labels(resource)

    def allocated(self, result: str) -> None:
        self._allocations.labels(self._resource, result).inc()

    def pre_started(self, result: str) -> None:
        self._pre_starts.labels(self._resource, result).inc()

    def changed(self, change: Change) -> None:
        record = change.after.record
        if change.before is None or change.before.record.state != record.state:
            self._transitions.labels(self._resource, record.state, record.reason).inc()

    def probed(self, seconds: float) -> None:
        self._probes.labels(self._resource).observe(seconds)

    def registration(self, at: float) -> None:
        self._registrations.labels(self._resource).inc()
        self._registered_at.labels(self._resource).set(at)
        self._registered_mono = time.monotonic()

    def registration_failed(self) -> None:
        self._failures.labels(self._resource).inc()

    def kubelet_restarted(self) -> None:
        self._restarts.labels(self._resource).inc()

    def follow(self, registered: Callable[[], bool]) -> None:
        self._registered.labels(self._resource).set_function(lambda: float(registered()))

    def tell_pods(self, pods: Callable[[], Holders | None]) -> None:
        self._registry.register(PodsMetric(f"{_PREFIX}_device_pod_info", self._resource, pods))

    def _registration_age(self) -> float:
        return -1.0 if self._registered_mono is None else time.monotonic() - self._registered_mono

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _counter(inventory: Inventory, health: str) -> Callable[[], float]:
    return lambda: float(sum(state.health == health for state in inventory.snapshot()[1].values()))


def _in_state(inventory: Inventory, name: str) -> Callable[[], float]:
    return lambda: float(sum(state.record.state == name for state in inventory.snapshot()[1].values()))
