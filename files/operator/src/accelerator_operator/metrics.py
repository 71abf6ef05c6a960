# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads. Names begin with the custom resource's kind, as the template project's do."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """Gauges rather than a counter for reconcile_count: prometheus-client would call a counter `…_total`."""

    def __init__(self, kind: str, registry: CollectorRegistry) -> None:
        self.reconciles = Gauge(f"{kind}_reconcile_count", "Reconciles since the operator started", registry=registry)
        self.consumers = Gauge(f"{kind}_consumers", "Consumer pods that are running", registry=registry)
        self.ready = Gauge(f"{kind}_ready", "1 while the custom resource is Ready, else 0", ["name"], registry=registry)
        self.errors = Counter(f"{kind}_reconcile_errors", "Reconciles that ended in an error", registry=registry)
        self.duration = Histogram(f"{kind}_reconcile_duration_seconds", "Time that a reconcile took", registry=registry)

    def forget(self, name: str) -> None:
        """The custom resource is gone: an old value would alert for ever."""
        self.ready.remove_by_labels({"name": name})
